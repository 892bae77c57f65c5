import { smallInteger } from '../base/small_integer.js';
import { ConfChangeTransition, ConfChangeType } from './conf_change.js';
import type { ConfChange, ConfChangeSingle } from './conf_change.js';
import { emptyBuffer } from './message.js';

/*
 * The data of EntryConfChange and EntryConfChangeV2. Layout: format (1 byte), transition (1 byte), number
 * of changes (2 bytes), per change its type (1 byte) and replica id (8 bytes, a double: ids are below
 * 2^53), then the context. Big endian. Leaving a joint configuration without a context is no bytes at
 * all, so that the entry a leader adds by itself never runs into the limit on uncommitted bytes.
 */
const format = 1;
const headBytes = 4;
const changeBytes = 9;
/** Changes of one entry; no group has that many members. */
export const confChangesMax = 1024;

/** The change that leaves a joint configuration. */
export const leaveJoint: ConfChange = Object.freeze({
  transition: ConfChangeTransition.Auto,
  changes: Object.freeze([]),
  context: emptyBuffer,
});

export function encodeConfChange(cc: ConfChange): Buffer {
  if (cc.changes.length === 0 && cc.context.length === 0 && cc.transition === ConfChangeTransition.Auto) {
    return emptyBuffer;
  }
  if (cc.changes.length > confChangesMax) throw new RangeError(`more than ${String(confChangesMax)} changes`);
  const contextAt = headBytes + cc.changes.length * changeBytes;
  const out = Buffer.allocUnsafe(contextAt + cc.context.length);
  out.writeUInt8(format, 0);
  out.writeUInt8(cc.transition, 1);
  out.writeUInt16BE(cc.changes.length, 2);
  cc.changes.forEach((change, i) => {
    out.writeUInt8(change.type, headBytes + i * changeBytes);
    out.writeDoubleBE(change.replicaId, headBytes + i * changeBytes + 1);
  });
  cc.context.copy(out, contextAt);
  return out;
}

/** The change in an entry's data, or null when the bytes are not one. The context is a view into data. */
export function decodeConfChange(data: Buffer): ConfChange | null {
  if (data.length === 0) return leaveJoint;
  if (data.length < headBytes || data.readUInt8(0) !== format) return null;
  const transition = transitionOf(data.readUInt8(1));
  const count = data.readUInt16BE(2);
  const contextAt = headBytes + count * changeBytes;
  if (transition === null || count > confChangesMax || data.length < contextAt) return null;
  const changes: ConfChangeSingle[] = [];
  for (let at = headBytes; at < contextAt; at += changeBytes) {
    const type = typeOf(data.readUInt8(at));
    const replicaId = smallInteger(data.readDoubleBE(at + 1));
    if (type === null || !Number.isSafeInteger(replicaId) || replicaId < 0) return null;
    changes.push({ type, replicaId });
  }
  return { transition, changes, context: data.subarray(contextAt) };
}

function transitionOf(value: number): ConfChangeTransition | null {
  return Object.values(ConfChangeTransition).find((t) => t === value) ?? null;
}

function typeOf(value: number): ConfChangeType | null {
  return Object.values(ConfChangeType).find((t) => t === value) ?? null;
}
