import { assert } from '../src/base/assert.js';
import { encodedKeyOf } from '../src/engine/keys.js';
import type { SessionPart, SessionRecord } from '../src/gen/skerry/v1/kv.js';
import { sessionPartEntries, sessionSequencesMax, shardSessionsMax } from './limits.js';

/**
 * The client sessions of one shard: which writes took effect, so that a retried one takes effect
 * once (Raft thesis, section 6.3). Part of the replicated state: every replica comes to the same
 * table at the same log index, whether it applied the entries, restarted, or got a snapshot or a
 * split's copy. Hence no clock in here; the age of a session is the log index of its last use.
 *
 *   floor        every sequence below it has been answered or forgotten
 *   applied      sequences at or above the floor that took effect
 *   refused      sequences at or above the floor whose compare-and-swap failed
 *   part         after a merge (session_merge.ts): a higher floor for the keys on one side of the former boundary, until
 *                the floor for all keys has reached it
 *
 * A write below the floor is `expired`: its client has an answer or has given up, so this is a late attempt, which
 * must not undo what came after. A failed compare-and-swap is remembered because an attempt that was overtaken by
 * another one must not swap after the client was told that it did not.
 *
 * A table is bounded, so it drops the session that was used longest ago, and keeps the highest id that it dropped. A session that it
 * does not know and whose id is not above that one may have been dropped: a retry of it is `expired`, since the first
 * attempt may have taken effect. Its first attempts do take effect and begin the session again, but what it had applied before
 * is not known any more, so from then on each of its retries that is not on record is `expired` as well (`droppedBefore`).
 * Ids come from placement and grow, so a session that has just begun is not in doubt.
 *
 * What this rests on: an attempt that does not say `retry` is the first one to arrive. A first attempt that the network held back
 * while a retry was answered and more sessions than the table holds came by would take effect again.
 */
export type Verdict = 'apply' | 'duplicate' | 'refused' | 'expired';

/**
 * Row id of the mark that sessions of this shard have been dropped: the highest id of them is its `ackedBelow`. No client
 * session has id 0.
 */
export const evictionMarkId = 0;

interface Session {
  floor: number;
  /** Ascending, each at or above the floor. */
  readonly applied: number[];
  /** Ascending, each at or above the floor. */
  readonly refused: number[];
  lastIndex: number;
  part: SessionPart | null;
  readonly droppedBefore: boolean;
}

export interface SessionLimits {
  readonly sessions: number;
  readonly sequences: number;
}

/** One row to write; null deletes it. */
export interface SessionChange {
  readonly sessionId: number;
  readonly record: SessionRecord | null;
}

const defaultLimits: SessionLimits = Object.freeze({ sessions: shardSessionsMax, sequences: sessionSequencesMax });
/** What all shards without sessions share: a map for each of ten thousand would be heap for nothing. Never written. */
const noSessions = new Map<number, Session>();

export class SessionTable {
  /** Least recently used first (by lastIndex). */
  private sessions = noSessions;
  /** Null: nothing has changed. */
  private dirty: Set<number> | null = null;
  private readonly limits: SessionLimits;
  /** No session with a higher id was ever dropped; 0: none was. */
  private droppedUpTo = 0;

  constructor(limits: SessionLimits = defaultLimits) {
    this.limits = limits;
  }

  /** A table from its rows, in any order. */
  static load(
    rows: Iterable<readonly [sessionId: number, record: SessionRecord]>,
    limits?: SessionLimits,
  ): SessionTable {
    const table = new SessionTable(limits);
    const sorted = [...rows].sort((a, b) => a[1].lastIndex - b[1].lastIndex || a[0] - b[0]);
    for (const [sessionId, record] of sorted) {
      if (sessionId === evictionMarkId) table.droppedUpTo = record.ackedBelow;
      else
        table.put(sessionId, {
          floor: record.ackedBelow,
          applied: [...record.applied],
          refused: [...record.refused],
          lastIndex: record.lastIndex,
          // A copy: a view would pin the page that it came in.
          part: record.part === undefined ? null : { ...record.part, boundary: Buffer.from(record.part.boundary) },
          droppedBefore: record.droppedBefore,
        });
    }
    return table;
  }

  /**
   * The table that the new shard of a split begins with. Its log is a new one, so every session counts as last used
   * where that log begins, and among equals the order of ids decides, on every replica alike.
   */
  copyFor(firstIndex: number): SessionTable {
    const rows = [...this.rows()].map(([id, row]) => {
      const part = row.part === undefined ? undefined : { ...row.part, mergedAt: firstIndex };
      return [id, { ...row, lastIndex: firstIndex, part }] as const;
    });
    return SessionTable.load(rows, this.limits);
  }

  get size(): number {
    return this.sessions.size;
  }

  /** Whether a write to these engine keys should take effect. Session 0 is no session: always. */
  judge(sessionId: number, sequence: number, retry: boolean, keys: readonly Buffer[] = []): Verdict {
    if (sessionId === 0) return 'apply';
    const session = this.sessions.get(sessionId);
    if (session === undefined) return retry && this.mayHaveDropped(sessionId) ? 'expired' : 'apply';
    if (sequence < session.floor) return 'expired';
    if (find(session.applied, sequence).found) return 'duplicate';
    if (find(session.refused, sequence).found) return 'refused';
    if (retry && session.droppedBefore) return 'expired';
    const { part } = session;
    return part !== null && sequence < part.ackedBelow && allInPart(keys, part) ? 'expired' : 'apply';
  }

  /** Notes what a write came to at a log index: it took effect, or its compare-and-swap failed. */
  record(
    sessionId: number,
    sequence: number,
    ackedBelow: number,
    index: number,
    outcome: 'applied' | 'refused' = 'applied',
    keys: readonly Buffer[] = [],
  ): void {
    if (sessionId === 0) return;
    let session = this.sessions.get(sessionId);
    if (session === undefined) {
      const droppedBefore = this.mayHaveDropped(sessionId);
      session = { floor: 0, applied: [], refused: [], lastIndex: index, part: null, droppedBefore };
    } else {
      assert(index >= session.lastIndex, 'log indexes of one shard do not go back');
      this.sessions.delete(sessionId);
    }
    this.put(sessionId, session);
    session.lastIndex = index;
    raiseFloorOf(session, ackedBelow, index, keys);
    const list = session[outcome];
    if (sequence >= session.floor) {
      const place = find(list, sequence);
      if (!place.found) list.splice(place.at, 0, sequence);
    }
    const surplus = list.length - this.limits.sequences;
    if (surplus > 0) raiseFloor(session, (list[surplus - 1] ?? 0) + 1);
    this.changed(sessionId);
    if (this.sessions.size > this.limits.sessions) this.evict();
  }

  private put(sessionId: number, session: Session): void {
    if (this.sessions === noSessions) this.sessions = new Map();
    this.sessions.set(sessionId, session);
  }

  private changed(sessionId: number): void {
    this.dirty ??= new Set();
    this.dirty.add(sessionId);
  }

  /** The rows that changed since the last call, once each. */
  takeChanges(): SessionChange[] {
    const changes: SessionChange[] = [];
    for (const sessionId of this.dirty ?? []) changes.push({ sessionId, record: this.recordOf(sessionId) });
    this.dirty = null;
    return changes;
  }

  /** Every row. */
  *rows(): IterableIterator<[sessionId: number, record: SessionRecord]> {
    if (this.droppedUpTo > 0) yield [evictionMarkId, evictionMark(this.droppedUpTo)];
    for (const [sessionId, session] of this.sessions) yield [sessionId, recordOf(session)];
  }

  private recordOf(sessionId: number): SessionRecord | null {
    if (sessionId === evictionMarkId) return evictionMark(this.droppedUpTo);
    const session = this.sessions.get(sessionId);
    return session === undefined ? null : recordOf(session);
  }

  private mayHaveDropped(sessionId: number): boolean {
    return sessionId <= this.droppedUpTo;
  }

  /** Drops the least recently used session; among equals the one with the lowest id, on every replica alike. */
  private evict(): void {
    let oldest = 0;
    let oldestIndex = 0;
    for (const [sessionId, session] of this.sessions) {
      if (oldest === 0) oldestIndex = session.lastIndex;
      if (session.lastIndex > oldestIndex) break;
      if (oldest === 0 || sessionId < oldest) oldest = sessionId;
    }
    this.sessions.delete(oldest);
    this.droppedUpTo = Math.max(this.droppedUpTo, oldest);
    this.changed(oldest);
    this.changed(evictionMarkId);
  }
}

function recordOf(session: Session): SessionRecord {
  const { floor, applied, refused, lastIndex, part, droppedBefore } = session;
  return { ackedBelow: floor, applied, refused, lastIndex, part: part ?? undefined, droppedBefore };
}

/** The row that says which sessions may have been dropped. */
export function evictionMark(droppedUpTo: number): SessionRecord {
  return { ackedBelow: droppedUpTo, applied: [], refused: [], lastIndex: 0, part: undefined, droppedBefore: false };
}

/**
 * A write that was sent before its client knew of a merge says nothing about the keys of the other side. One that comes
 * well after the merge was sent with the whole shard in view.
 */
function raiseFloorOf(session: Session, floor: number, index: number, keys: readonly Buffer[]): void {
  const { part } = session;
  if (part === null) {
    raiseFloor(session, floor);
  } else if (index > part.mergedAt + sessionPartEntries) {
    raiseFloor(session, floor);
    if (part.ackedBelow <= session.floor) session.part = null;
  } else if (allInPart(keys, part)) {
    session.part = { ...part, ackedBelow: Math.max(part.ackedBelow, floor) };
  } else {
    raiseFloor(session, Math.min(floor, part.ackedBelow));
  }
}

/** True when all keys lie on the side that the part is about. A write to both sides began after the merge. */
function allInPart(keys: readonly Buffer[], { boundary, fromBoundary }: SessionPart): boolean {
  if (keys.length === 0) return false;
  return keys.every((key) => Buffer.compare(encodedKeyOf(key), boundary) >= 0 === fromBoundary);
}

function raiseFloor(session: Session, floor: number): void {
  if (floor <= session.floor) return;
  session.floor = floor;
  for (const list of [session.applied, session.refused]) {
    const kept = find(list, floor).at;
    if (kept > 0) list.splice(0, kept);
  }
}

/** Place of a number in an ascending list. Most numbers are new and largest, so the end is tried first. */
function find(list: readonly number[], wanted: number): { found: boolean; at: number } {
  const last = list.at(-1);
  if (last === undefined || last < wanted) return { found: false, at: list.length };
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return { found: list[low] === wanted, at: low };
}
