import type { Prng } from '../../src/base/prng.js';
import type { LogReport } from '../../src/raftlog/inspect_log.js';
import { inspectRaftLog } from '../../src/raftlog/inspect_log.js';
import { RaftLogError } from '../../src/raftlog/log_error.js';
import type { MemoryDisk } from '../support/memory_disk.js';
import { logDirectory } from './store_machine.js';

/** Where a frame can be hit at all; a segment with less in it is left alone. */
const usedBytesMin = 512;

/**
 * Turns a bit of a stopped store's Raft log over, where the log can tell that from a write that was torn by a power cut:
 * damage to the very last batches cannot be told from one, in any log, and is not tried here. Returns where; null: nowhere.
 */
export async function flipBit(disk: MemoryDisk, prng: Prng): Promise<string | null> {
  const before = await look(disk);
  const choice = before?.segments.filter((s) => s.usedBytes >= usedBytesMin) ?? [];
  const segment = choice[prng.int(0, Math.max(0, choice.length - 1))];
  if (before === null || segment === undefined) return null;
  const path = `${logDirectory}/${segment.name}`;
  const at = prng.int(0, segment.usedBytes - 1);
  const mask = 1 << prng.int(0, 7);
  const bytes = disk.contents(path);
  const flip = (): number => bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
  flip();
  const after = await look(disk);
  // A log that cannot be opened at all is recognized damage, too.
  const recognized = after === null || (after.damagedStretches > before.damagedStretches && sameEnd(before, after));
  if (!recognized) flip();
  return recognized ? `${path} at ${at}` : null;
}

async function look(disk: MemoryDisk): Promise<LogReport | null> {
  try {
    const inspection = await inspectRaftLog(disk.mount(), logDirectory);
    await inspection.close();
    return inspection.report.missing === null ? inspection.report : null;
  } catch (error) {
    if (error instanceof RaftLogError) return null;
    throw error;
  }
}

function sameEnd(before: LogReport, after: LogReport): boolean {
  return before.tail?.segment === after.tail?.segment && before.tail?.offset === after.tail?.offset;
}
