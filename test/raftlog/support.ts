import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { must } from '../../src/base/assert.js';
import type { Disk } from '../../src/base/disk.js';
import type { Entry } from '../../src/raft/message.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';

export const directory = '/data/raftlog';

export interface OpenOptions {
  readonly segmentBytes?: number;
  readonly cacheBytesMax?: number;
  readonly logBytesMax?: number;
  readonly onFatal?: (error: Error) => void;
  readonly onDamaged?: (groupId: number) => void;
}

/** Opens a log with small segments; a failure that the test does not expect fails it. */
export function openLog(disk: Disk, options: OpenOptions = {}, where = directory): Promise<SegmentedLog> {
  return openRaftLog({
    disk,
    directory: where,
    runtime: nodeRuntime(),
    logger: silentLogger,
    segmentBytes: 8192,
    cacheBytesMax: 64 * 1024,
    onFatal: (error) => {
      throw error;
    },
    ...options,
  });
}

export function entry(index: number, term: number, data: string | Buffer): Entry {
  return { index, term, type: 0, data: Buffer.from(data) };
}

export function append(groupId: number, ...entries: Entry[]): LogRecord {
  return { kind: 'append', groupId, hardState: null, entries };
}

export function create(groupId: number, index = 0, term = 0): LogRecord {
  return { kind: 'reset', groupId, index, term, hardState: null };
}

/** All entries of a group, read from memory or disk, as `term:data`. */
export async function readAll(log: SegmentedLog, groupId: number): Promise<string[]> {
  const group = must(log.group(groupId), 'group');
  const out: string[] = [];
  for (let index = group.firstIndex(); index <= group.lastIndex();) {
    const got = group.entries(index, group.lastIndex() + 1, 1 << 20);
    if (got === 'pending') {
      // Again if garbage collection moved the entries just now.
      await group.load(index, group.lastIndex() + 1, 1 << 20);
      continue;
    }
    if (typeof got === 'string') throw new Error(`entries of group ${groupId} from ${index}: ${got}`);
    for (const e of got) {
      if (e.index !== index) throw new Error(`entry ${e.index} in place of ${index}`);
      if (e.term !== group.term(index)) throw new Error(`entry ${e.index} has another term than the index says`);
      out.push(`${e.term}:${e.data.toString()}`);
      index++;
    }
  }
  return out;
}
