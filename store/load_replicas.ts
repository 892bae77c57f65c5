import type { Disk } from '../src/base/disk.js';
import type { Logger } from '../src/base/logger.js';
import type { Engine } from '../src/engine/engine.js';
import { replicaRange, sessionIdOfKey, sessionRange, shardIdOfReplicaKey } from '../src/engine/keys.js';
import { scanBytesMax } from '../src/base/limits.js';
import type { ReplicaRecord, SessionRecord } from '../src/gen/skerry/v1/kv.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import { openStagedSnapshot, StagedFileError } from '../src/multiraft/staging.js';
import type { LogRecord, RaftLog } from '../src/raftlog/raft_log.js';
import { loadPageRowsMax, startingGroupsMax } from './limits.js';
import { decodeReplicaRecord, decodeSessionRecord } from './records.js';
import type { Replicas } from './replicas.js';
import { SessionTable } from './session_table.js';
import { initialPosition, ShardStateMachine } from './shard_state_machine.js';
import { SnapshotFormatError } from './snapshot_format.js';
import { installShardSnapshot } from './snapshot_install.js';

/**
 * Brings back what a store held when it stopped or crashed:
 *
 *   record NORMAL          start it where the engine stands; the log brings the rest
 *   record INSTALLING      install the same staged file again, then as above; quarantine it if the file is gone or damaged:
 *                          the rows that it had before are dropped
 *   record UNINITIALIZED   start it empty
 *   record TOMBSTONE       remember it; drop what the log still has of it
 *
 * Afterwards nothing needs the staging directory any more, and it is emptied.
 */
export interface LoadOptions {
  readonly engine: Engine;
  readonly raftLog: RaftLog;
  readonly disk: Disk;
  readonly stagingDirectory: string;
  readonly replicas: Replicas;
  readonly logger: Logger;
}

export async function loadReplicas(options: LoadOptions): Promise<void> {
  const { raftLog, replicas } = options;
  const sessions = await loadSessions(options.engine);
  const drops: LogRecord[] = [];
  let starting: Promise<void>[] = [];
  for await (const { shardId, record } of replicaRecords(options.engine)) {
    if (record.state === ReplicaState.TOMBSTONE) {
      replicas.addTombstone(shardId, record.replicaId);
      if (raftLog.group(shardId) !== undefined) drops.push({ kind: 'drop', groupId: shardId });
      continue;
    }
    starting.push(startReplica(options, shardId, record, sessions.get(shardId) ?? new Map<number, SessionRecord>()));
    if (starting.length >= startingGroupsMax) {
      await Promise.all(starting);
      starting = [];
    }
  }
  await Promise.all(starting);
  if (drops.length > 0) await raftLog.write(drops);
  await emptyDirectory(options.disk, options.stagingDirectory);
}

async function startReplica(
  options: LoadOptions,
  shardId: number,
  record: ReplicaRecord,
  sessions: Map<number, SessionRecord>,
): Promise<void> {
  const { replicas, logger } = options;
  const { replicaId } = record;
  const shard = record.shard ?? Shard.fromPartial({ shardId });
  const applied = { index: record.appliedIndex, term: record.appliedTerm };
  let rows: Map<number, SessionRecord> | StagedLoss = sessions;
  if (record.state === ReplicaState.INSTALLING) {
    logger.info({ shardId, replicaId, stagedFile: record.stagedFile }, 'installing a staged snapshot again');
    rows = await installAgain(options, shard, record);
  }
  if (rows instanceof StagedFileError || rows instanceof SnapshotFormatError) {
    const lost = { replicaId, shard, phase: 'normal', applied, sessions: new SessionTable() } as const;
    replicas.addQuarantined(new ShardStateMachine(replicas, lost), rows.message);
    return;
  }
  const phase = record.state === ReplicaState.UNINITIALIZED ? 'uninitialized' : 'normal';
  const table = SessionTable.load(rows);
  const machine = new ShardStateMachine(replicas, { replicaId, shard, phase, applied, sessions: table });
  // A crash right after a shard was made may have come before its log was.
  const isNew = phase === 'normal' && applied.index === initialPosition.index;
  await replicas.start(machine, isNew ? { bootstrap: initialPosition } : {});
}

/** The staged file is not what it was: the installation can never be finished. */
type StagedLoss = StagedFileError | SnapshotFormatError;

/** Goes on with an installation that a crash ended. The sessions that it brought; or why it cannot be done. */
async function installAgain(
  { engine, disk, stagingDirectory }: LoadOptions,
  shard: Shard,
  { replicaId, appliedIndex, appliedTerm, stagedFile }: ReplicaRecord,
): Promise<Map<number, SessionRecord> | StagedLoss> {
  try {
    const { staged } = await openStagedSnapshot(disk, `${stagingDirectory}/${stagedFile}`);
    const installation = { replicaId, shard, appliedIndex, appliedTerm, stagedFile, previous: null, taken: [] };
    return await installShardSnapshot(engine, installation, staged.read());
  } catch (error) {
    // Whatever else fails is the engine's or the disk's failure, and no reason to believe that this replica alone is lost.
    if (error instanceof StagedFileError || error instanceof SnapshotFormatError) return error;
    throw error;
  }
}

async function* replicaRecords(engine: Engine): AsyncIterable<{ shardId: number; record: ReplicaRecord }> {
  for await (const { key, value } of rowsOf(engine, replicaRange())) {
    yield { shardId: shardIdOfReplicaKey(key), record: decodeReplicaRecord(value) };
  }
}

/** All sessions of all shards in one walk: a walk per shard would be ten thousand of them. */
async function loadSessions(engine: Engine): Promise<Map<number, Map<number, SessionRecord>>> {
  const shards = new Map<number, Map<number, SessionRecord>>();
  const range = { start: sessionRange(0).start, end: sessionRange(Number.MAX_SAFE_INTEGER - 1).end };
  for await (const { key, value } of rowsOf(engine, range)) {
    const shardId = shardIdOfReplicaKey(key);
    let sessions = shards.get(shardId);
    if (sessions === undefined) {
      sessions = new Map();
      shards.set(shardId, sessions);
    }
    sessions.set(sessionIdOfKey(key), decodeSessionRecord(value));
  }
  return shards;
}

async function* rowsOf(
  engine: Engine,
  range: { readonly start: Buffer; readonly end: Buffer },
): AsyncIterable<{ readonly key: Buffer; readonly value: Buffer }> {
  let { start } = range;
  for (;;) {
    const page = await engine.scan({
      start,
      end: range.end,
      limit: loadPageRowsMax,
      maxBytes: scanBytesMax,
      reverse: false,
      keysOnly: false,
    });
    yield* page.rows;
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
}

async function emptyDirectory(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) await disk.unlink(`${directory}/${name}`);
}
