import type { SessionPart, SessionRecord } from '../src/gen/skerry/v1/kv.js';
import { evictionMark, evictionMarkId } from './session_table.js';

/**
 * The sessions of a shard that took another one in. A sequence that either of the two has applied stays applied. The
 * floors are another matter: each says what its own shard may have forgotten, and a client that waited for the one shard while the other
 * went on has raised only the other's. So the lower floor counts for all keys, and the higher one for the keys that it was
 * meant for (SessionPart).
 *
 * A session that only one of the two knows has the floor 0 in the other, unless that one may have dropped it, which its id
 * tells (session_table.ts): then it counts as dropped in both.
 */
export interface Boundary {
  /** Encoded key that the two ranges meet at. */
  readonly key: Uint8Array;
  /** True: the source has the keys from it on. */
  readonly sourceAbove: boolean;
}

type Rows = Iterable<readonly [sessionId: number, record: SessionRecord]>;

/** Rows for SessionTable.load(), as of a log index of the target. Past the limit of sessions the table drops some when it is written to. */
export function mergeSessions(
  target: Rows,
  source: Rows,
  boundary: Boundary,
  index: number,
): Map<number, SessionRecord> {
  const ours = new Map(target);
  const theirs = new Map(source);
  const oursDroppedUpTo = takeMark(ours);
  const theirsDroppedUpTo = takeMark(theirs);
  const merged = new Map<number, SessionRecord>();
  let droppedUpTo = Math.max(oursDroppedUpTo, theirsDroppedUpTo);
  for (const sessionId of new Set([...ours.keys(), ...theirs.keys()])) {
    const mine = ours.get(sessionId);
    const other = theirs.get(sessionId);
    const isLost =
      (mine === undefined && sessionId <= oursDroppedUpTo) || (other === undefined && sessionId <= theirsDroppedUpTo);
    if (isLost) droppedUpTo = Math.max(droppedUpTo, sessionId);
    else merged.set(sessionId, mergeSession(flat(mine), flat(other), boundary, index, other !== undefined));
  }
  if (droppedUpTo > 0) merged.set(evictionMarkId, evictionMark(droppedUpTo));
  return merged;
}

/** Takes the mark of dropped sessions out of a table's rows: the highest id that was dropped, or 0. */
function takeMark(rows: Map<number, SessionRecord>): number {
  const mark = rows.get(evictionMarkId);
  rows.delete(evictionMarkId);
  return mark?.ackedBelow ?? 0;
}

function mergeSession(
  target: SessionRecord,
  source: SessionRecord,
  { key, sourceAbove }: Boundary,
  index: number,
  sourceHasIt: boolean,
): SessionRecord {
  const ackedBelow = Math.min(target.ackedBelow, source.ackedBelow);
  const higher = Math.max(target.ackedBelow, source.ackedBelow);
  const fromBoundary = source.ackedBelow === higher ? sourceAbove : !sourceAbove;
  const part: SessionPart = { boundary: Buffer.from(key), fromBoundary, ackedBelow: higher, mergedAt: index };
  return {
    ackedBelow,
    applied: union(target.applied, source.applied),
    refused: union(target.refused, source.refused),
    // The source's log indexes mean nothing in this log.
    lastIndex: sourceHasIt ? index : target.lastIndex,
    part,
    droppedBefore: target.droppedBefore || source.droppedBefore,
  };
}

/** Without a part of an earlier merge: its floor for all keys forgets more, never less. */
function flat(record: SessionRecord | undefined): SessionRecord {
  if (record === undefined) {
    return { ackedBelow: 0, applied: [], refused: [], lastIndex: 0, part: undefined, droppedBefore: false };
  }
  const ackedBelow = Math.max(record.ackedBelow, record.part?.ackedBelow ?? 0);
  const kept = (list: readonly number[]): number[] => list.filter((sequence) => sequence >= ackedBelow);
  return { ...record, ackedBelow, applied: kept(record.applied), refused: kept(record.refused), part: undefined };
}

function union(a: readonly number[], b: readonly number[]): number[] {
  return [...new Set([...a, ...b])].sort((x, y) => x - y);
}
