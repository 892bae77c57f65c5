import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Identity } from '../../store/data_directory.js';
import { DataDirectoryError, DataDirectoryInUseError, peekDataDirectory } from '../../store/data_directory.js';
import { openReadOnly, NodeDisk } from '../raftlog/node_disk.js';
import type { DecodedEntry, InspectedCommand } from '../raftlog/inspect_entries.js';
import { decodeInspected } from '../raftlog/inspect_entries.js';
import type { InspectedGroup, InspectedSegment, LogInspection, LogReport } from '../raftlog/inspect_log.js';
import { inspectRaftLog } from '../raftlog/inspect_log.js';
import { RaftLogError } from '../raftlog/log_error.js';
import { commonOptions, wholeNumber } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { keyPreviewBytesMax, losingShardsShownMax } from './limits.js';
import type { Column } from './output.js';
import { bytesForPeople, printable, printJson, table, write } from './output.js';

/** `skerry store inspect DIR`: what a stopped store's directory holds, read without changing a byte of it. */

interface EngineView {
  readonly files: number;
  readonly bytes: number;
  /** RocksDB writes into its directory whenever it opens it, even to read: rows are not looked at. */
  readonly rowsRead: false;
}

interface Inspected {
  readonly directory: string;
  readonly identity: Identity | null;
  readonly raftLog: LogReport;
  readonly engine: EngineView;
}

const disk = new NodeDisk();
const readOnlyFiles = { open: openReadOnly, list: (directory: string) => disk.list(directory) };

const segmentColumns: readonly Column<InspectedSegment>[] = [
  { title: 'SEGMENT', value: (s) => s.name },
  { title: 'STATE', value: (s) => s.state },
  { title: 'BYTES', value: (s) => s.bytes },
  { title: 'USED', value: (s) => s.usedBytes },
  { title: 'NEEDED', value: (s) => s.neededBytes },
  { title: 'BATCHES', value: (s) => s.batches },
  { title: 'SEQUENCES', value: (s) => (s.batches === 0 ? '-' : `${s.firstBatch}..${s.lastBatch}`) },
];

const shardColumns: readonly Column<InspectedGroup>[] = [
  { title: 'SHARD', value: (g) => g.groupId },
  { title: 'FIRST', value: (g) => g.firstIndex },
  { title: 'LAST', value: (g) => g.lastIndex },
  { title: 'LAST TERM', value: (g) => g.lastTerm },
  { title: 'TERM', value: (g) => g.hardState?.term ?? '-' },
  { title: 'VOTE', value: (g) => g.hardState?.vote ?? '-' },
  { title: 'COMMIT', value: (g) => g.hardState?.commit ?? '-' },
  { title: 'BYTES', value: (g) => bytesForPeople(g.bytes) },
  { title: 'STATE', value: (g) => (g.damaged ? 'DAMAGED' : 'ok') },
];

/** A command as one line of text. */
function commandText(command: InspectedCommand): string {
  switch (command.kind) {
    case 'write': {
      const session = command.sessionId === 0 ? 'no session' : `session ${command.sessionId}/${command.sequence}`;
      const mutations = command.mutations.map((m) => {
        const value = m.valueBytes === null ? '' : ` (${m.valueBytes} B)`;
        return `${m.kind} ${preview(m.key)}${value}`;
      });
      return `write [${session}] ${mutations.join(', ')}`;
    }
    case 'split':
      return `split at ${preview(command.splitKey)}, new shard ${command.newShardId}`;
    case 'checksum':
      return `checksum of the shard, check ${command.checkId}`;
    case 'merge': {
      const other = command.otherShardId === 0 ? '' : `, shard ${command.otherShardId}`;
      return `merge: ${command.step}${other}`;
    }
    case 'malformed':
      return `malformed, ${command.bytes} B: ${command.reason}`;
  }
}

function preview(key: Buffer): string {
  const cut = key.length > keyPreviewBytesMax;
  return cut ? `${printable(key.subarray(0, keyPreviewBytesMax))}...` : printable(key);
}

function contentLines({ content }: DecodedEntry): string[] {
  switch (content.kind) {
    case 'commands':
      return content.commands.map(commandText);
    case 'confChange':
      return [content.changes.length === 0 ? 'leave the joint configuration' : content.changes.join(', ')];
    case 'malformed':
      return [`malformed: ${content.reason}`];
    case 'empty':
      return ['(a new leader)'];
    case 'damaged':
      return ['DAMAGED: the checksum does not fit'];
  }
}

/** For JSON: keys as base64, which holds any bytes. */
function entryJson(entry: DecodedEntry): unknown {
  const keyed = (name: string, value: unknown): unknown => (name.toLowerCase().endsWith('key') ? base64(value) : value);
  return JSON.parse(JSON.stringify(entry, keyed));
}

/** Buffers reach a JSON replacer as `{ type: 'Buffer', data }`. */
function base64(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('data' in value) || !Array.isArray(value.data)) return value;
  return Buffer.from(value.data as number[]).toString('base64');
}

function engineView(directory: string): EngineView {
  let files = 0;
  let bytes = 0;
  try {
    for (const name of readdirSync(directory)) {
      files++;
      bytes += statSync(join(directory, name)).size;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return { files, bytes, rowsRead: false };
}

/** What the log suffered, as lines for people. */
function damageLines({ identityGood, tail, losses, damagedStretches, missing, groups }: LogReport): string[] {
  const lines: string[] = [];
  if (!identityGood) lines.push('the identity file of the Raft log is damaged; starting writes it anew');
  if (missing !== null) lines.push(`THE LOG CANNOT BE OPENED: ${missing}`);
  if (tail?.state === 'torn') {
    lines.push(
      `torn tail: segment ${tail.segment} at ${tail.offset}, ${tail.tornBytes} B; starting cuts it off (it was never acknowledged, or the disk lost it)`,
    );
  }
  if (tail?.state === 'open') lines.push('the store did not close its log: it was killed, or the power went');
  for (const { segment, offset, groupIds } of losses) {
    lines.push(`damage: segment ${segment} at ${offset}, hits ${groupIds === null ? 'all shards' : shards(groupIds)}`);
  }
  if (damagedStretches > losses.length) lines.push(`damage: ${damagedStretches - losses.length} more stretches`);
  const lost = groups.filter((g) => g.damaged).map((g) => g.groupId);
  if (lost.length > 0) lines.push(`neither vote nor lead until refilled: ${shards(lost)}`);
  return lines.length === 0 ? ['no damage found'] : lines;
}

function shards(ids: readonly number[]): string {
  const shown = ids.slice(0, losingShardsShownMax).join(', ');
  const rest = ids.length - losingShardsShownMax;
  return `shard${ids.length === 1 ? '' : 's'} ${shown}${rest > 0 ? ` and ${rest} more` : ''}`;
}

async function printInspected({ directory, identity, raftLog, engine }: Inspected): Promise<void> {
  const who =
    identity === null
      ? 'no identity: no store ever started in it'
      : `cluster ${identity.clusterId}, store ${identity.storeId}, incarnation ${identity.incarnation}, format ${identity.formatVersion}, directory id ${identity.directoryId}`;
  await write(`${directory}\n${who}\n\n${table(raftLog.segments, segmentColumns)}\n`);
  await write(`${table(raftLog.groups, shardColumns)}\n${damageLines(raftLog).join('\n')}\n`);
  await write(`engine: ${engine.files} files, ${bytesForPeople(engine.bytes)}; its rows are not read\n`);
}

async function printEntries(inspection: LogInspection, shardId: number, json: boolean): Promise<void> {
  let first = true;
  if (json) await write('[');
  for await (const page of inspection.entries(shardId)) {
    for (const found of page) {
      const entry = decodeInspected(found);
      if (json) {
        await write(`${first ? '\n' : ',\n'}${JSON.stringify(entryJson(entry))}`);
        first = false;
        continue;
      }
      const head = `${entry.index} @${entry.term} ${entry.content.kind} ${entry.bytes} B`;
      await write(`${[head, ...contentLines(entry).map((line) => `    ${line}`)].join('\n')}\n`);
    }
  }
  if (json) await write('\n]\n');
}

/** One shard's row alone; not found if the log does not know it. */
function onlyShard(report: LogReport, shardId: number): LogReport {
  const groups = report.groups.filter((g) => g.groupId === shardId);
  if (groups.length === 0) throw new CommandError(exitCodes.notFound, `the Raft log has no shard ${shardId}`);
  return { ...report, groups };
}

interface Flags {
  readonly shard?: number;
  readonly entries?: true;
}

async function inspect(path: string, flags: Flags, command: Command): Promise<void> {
  if (flags.entries === true && flags.shard === undefined) {
    throw new CommandError(exitCodes.usage, '--entries needs --shard: the entries of which shard?');
  }
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CommandError(exitCodes.notFound, `${path} is no directory`);
  }
  const json = commonOptions(command).output === 'json';
  const identity = peekDataDirectory(path);
  const inspection = await inspectRaftLog(readOnlyFiles, join(path, 'raftlog'));
  try {
    const all = inspection.report;
    const raftLog = flags.shard === undefined ? all : onlyShard(all, flags.shard);
    // A store that came up while its files were read: what was read may be of two moments.
    peekDataDirectory(path);
    if (flags.entries === true && flags.shard !== undefined) await printEntries(inspection, flags.shard, json);
    else {
      const inspected = { directory: path, identity, raftLog, engine: engineView(join(path, 'engine')) };
      if (json) await printJson(inspected);
      else await printInspected(inspected);
    }
    if (all.missing !== null || all.groups.some((g) => g.damaged)) process.exitCode = exitCodes.failure;
  } finally {
    await inspection.close();
  }
}

/** Errors of the directory with the exit code that fits: in use is a conflict, nothing there is not found. */
function translated(error: unknown): unknown {
  if (error instanceof DataDirectoryError) {
    const busy = error instanceof DataDirectoryInUseError;
    return new CommandError(busy ? exitCodes.conflict : exitCodes.failure, error.message);
  }
  if (!(error instanceof RaftLogError)) return error;
  return new CommandError(
    error.code === 'noLog' ? exitCodes.notFound : exitCodes.failure,
    `${error.message} [${error.code}]`,
  );
}

export function storeInspectCommand(): Command {
  return new Command('inspect')
    .description("read a stopped store's data directory, changing nothing in it")
    .argument('<directory>', 'data directory of the store')
    .option('--shard <id>', 'only this shard', wholeNumber(1))
    .option('--entries', "decode the shard's log entries")
    .addHelpText(
      'after',
      '\nEnds with 1 when shards are damaged or the log cannot be opened, with 6 while the store runs.',
    )
    .action(async (path: string, flags: Flags, command: Command) => {
      try {
        await inspect(path, flags, command);
      } catch (error) {
        throw translated(error);
      }
    });
}
