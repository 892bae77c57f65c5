import type { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, varintSize, type Writer } from './writer.js';
import { WireError } from './wire_error.js';

/**
 * StoreBeat: the heartbeats of many groups as columns. A column is one packed field, so a group costs about
 * twelve bytes and no message of its own.
 */

/** One store heartbeat with the heartbeats of the groups that need one (columns on the wire). */
export interface Beat {
  readonly sequence: number;
  readonly syncAgeMs: number;
  /** MsgHeartbeat only; fields used: from, to, term, commit, context, and whether the group is asked to hibernate. */
  readonly heartbeats: readonly GroupHeartbeat[];
  /** MsgHeartbeatResp only. */
  readonly responses: readonly GroupHeartbeat[];
}

export interface GroupHeartbeat {
  readonly groupId: number;
  readonly from: number;
  readonly to: number;
  readonly term: number;
  readonly commit: number;
  readonly context: number;
  readonly sleep: BeatSleep;
}

/** What a row of a beat says about the hibernation of its group. */
export const BeatSleep = Object.freeze({
  /** Nothing. */
  none: 0,
  /** A heartbeat asks for it; a response says that its replica hibernates from now on. */
  sleep: 1,
  /** In place of a heartbeat: the leader's replica was stopped while its host lives on. */
  leaderStopped: 2,
} as const);
export type BeatSleep = (typeof BeatSleep)[keyof typeof BeatSleep];

const sequenceTag = (1 << 3) | 0;
const syncAgeTag = (2 << 3) | 0;
const heartbeatsTag = (3 << 3) | 2;
const responsesTag = (4 << 3) | 2;

export function beatSize(beat: Beat): number {
  return (
    numberFieldSize(beat.sequence) +
    numberFieldSize(beat.syncAgeMs) +
    (beat.heartbeats.length === 0 ? 0 : bytesFieldSize(columnsSize(beat.heartbeats))) +
    (beat.responses.length === 0 ? 0 : bytesFieldSize(columnsSize(beat.responses)))
  );
}

export function writeBeat(writer: Writer, beat: Beat): void {
  writer.numberField(sequenceTag, beat.sequence);
  writer.numberField(syncAgeTag, beat.syncAgeMs);
  if (beat.heartbeats.length !== 0) writeColumns(writer, heartbeatsTag, beat.heartbeats);
  if (beat.responses.length !== 0) writeColumns(writer, responsesTag, beat.responses);
}

/** Reads up to the reader's present end. */
export function readBeat(reader: Reader): Beat {
  let sequence = 0;
  let syncAgeMs = 0;
  let heartbeats: GroupHeartbeat[] = [];
  let responses: GroupHeartbeat[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case sequenceTag:
        sequence = reader.varint();
        break;
      case syncAgeTag:
        syncAgeMs = reader.uint32();
        break;
      case heartbeatsTag:
        heartbeats = readColumns(reader);
        break;
      case responsesTag:
        responses = readColumns(reader);
        break;
      default:
        reader.skip(tag);
    }
  }
  return { sequence, syncAgeMs, heartbeats, responses };
}

type Column = (row: GroupHeartbeat) => number;

/** In the order of their field numbers, from 1 on. */
const columns: readonly Column[] = [
  (row) => row.groupId,
  (row) => row.from,
  (row) => row.to,
  (row) => row.term,
  (row) => row.commit,
  (row) => row.context,
];

/** The last column; absent while every row says nothing. */
const sleepColumn: Column = (row) => row.sleep;
const sleepField = columns.length + 1;

function hasSleep(rows: readonly GroupHeartbeat[]): boolean {
  for (const row of rows) if (row.sleep !== BeatSleep.none) return true;
  return false;
}

function columnSize(column: Column, rows: readonly GroupHeartbeat[]): number {
  let size = 0;
  for (const row of rows) size += varintSize(column(row));
  return size;
}

function columnsSize(rows: readonly GroupHeartbeat[]): number {
  let size = 0;
  for (const column of columns) size += bytesFieldSize(columnSize(column, rows));
  if (hasSleep(rows)) size += bytesFieldSize(columnSize(sleepColumn, rows));
  return size;
}

function writeColumns(writer: Writer, tag: number, rows: readonly GroupHeartbeat[]): void {
  writer.messageHead(tag, columnsSize(rows));
  let field = 1;
  for (const column of columns) writeColumn(writer, field++, column, rows);
  if (hasSleep(rows)) writeColumn(writer, sleepField, sleepColumn, rows);
}

function writeColumn(writer: Writer, field: number, column: Column, rows: readonly GroupHeartbeat[]): void {
  writer.messageHead((field << 3) | 2, columnSize(column, rows));
  for (const row of rows) writer.varint(column(row));
}

function readColumns(reader: Reader): GroupHeartbeat[] {
  const outerEnd = reader.enter();
  const lists: number[][] = [...columns, sleepColumn].map(() => []);
  while (reader.more()) {
    const tag = reader.tag();
    const list = lists[(tag >>> 3) - 1];
    if (list === undefined || !reader.numbers(tag, list)) reader.skip(tag);
  }
  reader.leave(outerEnd);
  const [groupIds = [], from = [], to = [], terms = [], commits = [], contexts = [], sleeps = []] = lists;
  const rows = groupIds.length;
  for (const list of lists)
    if (list.length !== rows && (list !== sleeps || list.length > 0))
      throw new WireError('the columns of a beat differ in length');
  return groupIds.map((groupId, i) => ({
    groupId,
    from: from[i] ?? 0,
    to: to[i] ?? 0,
    term: terms[i] ?? 0,
    commit: commits[i] ?? 0,
    context: contexts[i] ?? 0,
    sleep: knownSleep(sleeps[i] ?? 0),
  }));
}

/** What a later version says and this one does not know means nothing. */
function knownSleep(value: number): BeatSleep {
  return value === BeatSleep.sleep || value === BeatSleep.leaderStopped ? value : BeatSleep.none;
}
