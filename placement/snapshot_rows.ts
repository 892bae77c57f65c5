import { assert } from '../src/base/assert.js';

/** Rows of a snapshot chunk, one after the other: key length u16 ‖ value length u32 ‖ key ‖ value. Little-endian. */
const headBytes = 6;

export interface SnapshotRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

export function encodeSnapshotRows(rows: readonly SnapshotRow[]): Buffer {
  const parts: Buffer[] = [];
  for (const row of rows) {
    const head = Buffer.allocUnsafe(headBytes);
    head.writeUInt16LE(row.key.length, 0);
    head.writeUInt32LE(row.value.length, 2);
    parts.push(head, row.key, row.value);
  }
  return Buffer.concat(parts);
}

/** Views into the chunk. Asserts on a torn one: the transport has checked the chunk's checksum already. */
export function decodeSnapshotRows(chunk: Buffer): SnapshotRow[] {
  const rows: SnapshotRow[] = [];
  let at = 0;
  while (at < chunk.length) {
    const keyEnd = at + headBytes + chunk.readUInt16LE(at);
    const valueEnd = keyEnd + chunk.readUInt32LE(at + 2);
    assert(valueEnd <= chunk.length, 'a snapshot row ends within its chunk');
    rows.push({ key: chunk.subarray(at + headBytes, keyEnd), value: chunk.subarray(keyEnd, valueEnd) });
    at = valueEnd;
  }
  return rows;
}
