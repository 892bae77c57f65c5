import { encodeKey } from '../src/base/encoded_key.js';
import { frameBytesMax } from '../src/base/limits.js';
import type { Runtime } from '../src/base/runtime.js';
import type { TypedError } from '../src/base/wire_errors.js';
import {
  clusterMismatch,
  diskFull,
  epochNotMatch,
  invalidArgument,
  notLeader,
  serverIsBusy,
  sessionExpired,
  shardNotFound,
  storeNotMatch,
  undetermined,
} from '../src/base/wire_errors.js';
import type { Engine } from '../src/engine/engine.js';
import { Consistency } from '../src/gen/skerry/v1/kv.js';
import type { Epoch, Shard } from '../src/gen/skerry/v1/meta.js';
import type { Group, ProposalOutcome } from '../src/multiraft/host.js';
import type { ScanOp, WireOp, WriteCommand } from '../src/wire/kv_codec.js';
import {
  decodeKeyList,
  decodeOp,
  decodeScanOp,
  decodeWriteCommand,
  encodeErrorResult,
  encodeExistsResult,
  encodeResult,
  encodeRowsResult,
  encodeValueResult,
  encodeWriteResult,
  OpKind,
  ResultKind,
  WireError,
} from '../src/wire/kv_codec.js';
import type { Load } from './admission.js';
import { Admission } from './admission.js';
import { DeadlineWheel } from './deadlines.js';
import { epochOf } from './descriptor.js';
import { Forwarder } from './forwarder.js';
import type { Reply } from './kv_call.js';
import { KvCall, newKvCounters } from './kv_call.js';
import { checkKeys, checkWrite } from './kv_checks.js';
import {
  busyRetryAfterMs,
  engineBacklogBytesMax,
  epochShardsMax,
  opTimeoutDefaultMs,
  opTimeoutMaxMs,
} from './limits.js';
import { engineReadError, ReadGatherer } from './read_gatherer.js';
import type { Replicas } from './replicas.js';
import { scanShard } from './scan.js';
import type { ShardStateMachine } from './shard_state_machine.js';
import type { WriteOutcome } from './write_outcome.js';

/**
 * Operations on keys, whichever way they came: a batch stream, a unary call, another store.
 *
 *   op ─▶ cluster, store ─▶ shard ─▶ epoch ─▶ leader ─▶ key range ─▶ sizes ─▶ admission
 *                                                │                              ├─ write ─▶ propose ─▶ outcome
 *                                      forward or NotLeader                     └─ read ─▶ read point ─▶ engine
 *
 * The first check that fails answers with its typed error, which carries the cure. Nothing waits here without a
 * deadline, and every operation is answered once.
 */
export interface KvServiceOptions {
  readonly clusterId: number;
  readonly storeId: number;
  readonly runtime: Runtime;
  readonly engine: Engine;
  readonly replicas: Replicas;
  readonly forward: (storeId: number, payload: Buffer, timeoutMs: number) => Promise<Buffer>;
  readonly fatal: (error: Error) => void;
  readonly admission?: Admission;
}

const appliedBody = encodeWriteResult({ applied: true, current: null });

export class KvService {
  readonly clusterId: number;
  readonly storeId: number;
  readonly counters = newKvCounters();
  readonly admission: Admission;
  /** Set while the disk keeps its reserve: writes that need space are refused. */
  diskFull = false;
  private readonly runtime: Runtime;
  private readonly engine: Engine;
  private readonly replicas: Replicas;
  readonly deadlines: DeadlineWheel;
  private readonly reads: ReadGatherer;
  private readonly forwarder: Forwarder;
  private readonly fatal: (error: Error) => void;
  private stopping = false;

  constructor(options: KvServiceOptions) {
    this.clusterId = options.clusterId;
    this.storeId = options.storeId;
    this.runtime = options.runtime;
    this.engine = options.engine;
    this.replicas = options.replicas;
    this.admission = options.admission ?? new Admission();
    this.deadlines = new DeadlineWheel(options.runtime);
    this.reads = new ReadGatherer(options.engine, options.fatal);
    this.forwarder = new Forwarder(options.forward);
    this.fatal = options.fatal;
  }

  /** From now on everything new is refused; what is in flight goes on. */
  stop(): void {
    this.stopping = true;
  }

  /** Checks what a frame or a unary call says once for all of its operations. storeId 0 is not checked. */
  checkTarget(clusterId: number, storeId: number): TypedError | null {
    if (clusterId !== this.clusterId) return clusterMismatch(clusterId, this.clusterId);
    if (storeId !== 0 && storeId !== this.storeId) return storeNotMatch(storeId, this.storeId);
    return null;
  }

  /** The shard here that has a user key; 0: none. For callers that name no shard. */
  findShard(keyspaceId: number, userKey: Buffer): number {
    const any = this.replicas.ranges.anyOf(keyspaceId);
    const partitioning = any === undefined ? undefined : this.replicas.machine(any.shardId)?.shard.partitioning;
    if (partitioning === undefined) return 0;
    return this.replicas.ranges.find(keyspaceId, encodeKey(partitioning, userKey))?.shardId ?? 0;
  }

  /** The shard here that has an encoded key; 0: none. */
  findShardOfEncoded(keyspaceId: number, encodedKey: Buffer): number {
    return this.replicas.ranges.find(keyspaceId, encodedKey)?.shardId ?? 0;
  }

  /** The shard here in which a reverse scan from an encoded key (empty: the end) begins; 0: none. */
  findShardBelow(keyspaceId: number, encodedKey: Buffer): number {
    return this.replicas.ranges.below(keyspaceId, encodedKey)?.shardId ?? 0;
  }

  /** Takes one operation. Its reply comes later, or at once when it is refused. flush() must follow in the same turn. */
  execute(op: WireOp, stream: Load | null, reply: Reply): void {
    const error = this.tryExecute(op, stream, reply);
    if (error === null) return;
    if (error.detail?.$case === 'serverIsBusy') this.counters.busy++;
    reply(ResultKind.error, encodeErrorResult(error));
  }

  /** Ends a frame: begins the reads that it brought. */
  flush(): void {
    this.reads.flush();
  }

  /** An operation that another store passed on. It is not passed on again. */
  forwarded(payload: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      const op = { ...decodeOp(payload), allowForward: false };
      this.execute(op, null, (kind, body) => resolve(encodeResult({ id: op.id, kind, body })));
      this.flush();
    });
  }

  private tryExecute(op: WireOp, stream: Load | null, reply: Reply): TypedError | null {
    if (this.stopping) return serverIsBusy('stopping', busyRetryAfterMs);
    const machine = this.replicas.machine(op.shardId);
    if (machine === undefined || machine.phase === 'removed' || machine.phase === 'uninitialized') {
      return shardNotFound(op.shardId);
    }
    if (!routedByEpoch(op, epochOf(machine.shard))) return this.epochError(machine);
    if (machine.isMerging) return serverIsBusy('shard_merging', busyRetryAfterMs);
    const group = this.replicas.group(op.shardId);
    if (group === undefined) return notLeader(op.shardId, { replicaId: 0, storeId: 0 }, 0);
    if (needsLeader(op) && !group.isLeader()) return this.passOn(op, machine, group, stream, reply);
    try {
      return this.begin(op, machine, group, stream, reply);
    } catch (error) {
      if (error instanceof WireError) return invalidArgument('op', 'MALFORMED', error.message);
      throw error;
    }
  }

  private begin(
    op: WireOp,
    machine: ShardStateMachine,
    group: Group,
    stream: Load | null,
    reply: Reply,
  ): TypedError | null {
    const { shard, shardKeys: keys } = machine;
    switch (op.kind) {
      case OpKind.write: {
        // First, because refusing must cost little when there is much to refuse.
        const waitMs = this.admission.refuseWriteForMs();
        if (waitMs > 0) return serverIsBusy('write_delay', waitMs);
        const command = decodeWriteCommand(op.body);
        const wrong = checkWrite(shard, keys, command, op.body.length) ?? this.checkSpace(command);
        if (wrong !== null) return wrong;
        return this.admit(op, stream, reply, (call) => this.write(call, machine, group));
      }
      case OpKind.get:
      case OpKind.exists:
      case OpKind.batchGet: {
        const userKeys = op.kind === OpKind.batchGet ? decodeKeyList(op.body) : [op.body];
        const checked = checkKeys(shard, keys, userKeys);
        if ('error' in checked) return checked.error;
        const { engineKeys } = checked;
        return this.admit(op, stream, reply, (call) => this.read(call, machine, group, userKeys, engineKeys));
      }
      case OpKind.scan: {
        const scan = decodeScanOp(op.body);
        return this.admit(op, stream, reply, (call) => this.scan(call, machine, group, scan));
      }
      case OpKind.unknown:
        return invalidArgument('op', 'MALFORMED', 'an operation of a kind that this store does not know');
    }
  }

  private admit(op: WireOp, stream: Load | null, reply: Reply, start: (call: KvCall) => void): TypedError | null {
    const limit = this.admission.admit(stream, op.shardId, op.body.length);
    if (limit !== null) return serverIsBusy(limit, busyRetryAfterMs);
    const call = new KvCall(this, op, stream, reply);
    this.deadlines.add(call, timeoutOf(op));
    start(call);
    return null;
  }

  private write(call: KvCall, machine: ShardStateMachine, group: Group): void {
    this.counters.writes++;
    call.proposed = true;
    const { writes } = this.admission;
    const beganMs = this.runtime.nowMs();
    writes.enter();
    group.propose(1, call.op.body, (outcome) => {
      writes.leave();
      // Others end for a reason of their own, not because their turn came.
      if (outcome.status === 'applied') writes.observe(beganMs, this.runtime.nowMs());
      this.finishWrite(call, machine, group, outcome);
    });
  }

  private finishWrite(call: KvCall, machine: ShardStateMachine, group: Group, outcome: ProposalOutcome): void {
    switch (outcome.status) {
      case 'applied':
        this.finishApplied(call, machine, outcome.result as WriteOutcome);
        return;
      case 'undetermined':
        call.fail(undetermined(machine.shardId, machine.hostOf(outcome.leaderId)));
        return;
      case 'dropped':
        call.fail(droppedError(machine, group, outcome));
    }
  }

  private finishApplied(call: KvCall, machine: ShardStateMachine, result: WriteOutcome): void {
    switch (result.kind) {
      case 'written':
        call.settle(ResultKind.write, appliedBody);
        return;
      case 'swapFailed':
        call.settle(ResultKind.write, encodeWriteResult({ applied: false, current: result.current }));
        return;
      case 'keyNotInShard':
        call.fail(this.epochError(machine));
        return;
      case 'sessionExpired':
        call.fail(sessionExpired(result.sessionId));
        return;
      case 'malformed':
        call.fail(invalidArgument('op', 'MALFORMED'));
        return;
      case 'removed':
        // This replica was removed by an earlier entry; the others apply the write.
        call.fail(undetermined(machine.shardId, 0));
        return;
      case 'split':
      case 'refused':
      case 'changed':
      case 'checksum':
        this.fail(new Error(`a client's write came to ${result.kind}`));
    }
  }

  private read(
    call: KvCall,
    machine: ShardStateMachine,
    group: Group,
    userKeys: readonly Buffer[],
    engineKeys: readonly Buffer[],
  ): void {
    this.counters.reads++;
    this.startRead(call, machine, group, engineKeys, (values) => {
      const first = values[0] ?? null;
      if (call.op.kind === OpKind.get) call.settle(ResultKind.get, encodeValueResult(first));
      else if (call.op.kind === OpKind.exists) call.settle(ResultKind.exists, encodeExistsResult(first !== null));
      else this.finishBatchGet(call, userKeys, values);
    });
  }

  private finishBatchGet(call: KvCall, userKeys: readonly Buffer[], values: readonly (Buffer | null)[]): void {
    const rows = userKeys.flatMap((key, at) => {
      const value = values[at] ?? null;
      return value === null ? [] : [{ key, value }];
    });
    const bytes = rows.reduce((sum, row) => sum + row.key.length + row.value.length, 0);
    // Half a frame leaves room for framing, and for the other results of a stream's frame.
    if (bytes > frameBytesMax / 2) {
      call.fail(invalidArgument('keys', 'RESULT_TOO_LARGE', 'the values do not fit one reply: ask for fewer keys'));
    } else {
      call.settle(ResultKind.rows, encodeRowsResult({ rows, more: false, nextKey: Buffer.alloc(0) }));
    }
  }

  /** The shard must be the same before and after the page was read, or rows could be missing from it. */
  private scan(call: KvCall, machine: ShardStateMachine, group: Group, scan: ScanOp): void {
    this.counters.scans++;
    const { shard } = machine;
    const unchanged = (): boolean =>
      machine.phase === 'normal' && epochOf(machine.shard).version === epochOf(shard).version;
    this.startRead(call, machine, group, [], () => {
      if (!unchanged()) {
        call.fail(this.epochError(machine));
        return;
      }
      scanShard(this.engine, shard, scan).then(
        (result) => {
          if (unchanged()) call.settle(ResultKind.rows, encodeRowsResult(result));
          else call.fail(this.epochError(machine));
        },
        (error: unknown) => {
          const typed = engineReadError(error);
          if (typed === null) this.fail(error);
          else call.fail(typed);
        },
      );
    });
  }

  private startRead(
    call: KvCall,
    machine: ShardStateMachine,
    group: Group,
    engineKeys: readonly Buffer[],
    finish: (values: readonly (Buffer | null)[]) => void,
  ): void {
    const read = { call, machine, engineKeys, finish };
    if (call.op.consistency === Consistency.STALE) {
      this.counters.staleReads++;
      this.reads.run(read);
    } else {
      if (call.op.consistency === Consistency.FOLLOWER) this.counters.followerReads++;
      this.reads.add(group, read);
    }
  }

  /** A replica that does not lead: passes the operation on if the caller allows it, else names the leader. */
  private passOn(
    op: WireOp,
    machine: ShardStateMachine,
    group: Group,
    stream: Load | null,
    reply: Reply,
  ): TypedError | null {
    const replicaId = group.leaderId();
    const storeId = machine.hostOf(replicaId);
    const refusal = notLeader(op.shardId, { replicaId: storeId === 0 ? 0 : replicaId, storeId }, group.term());
    if (!op.allowForward || storeId === 0 || storeId === this.storeId) return refusal;
    return this.admit(op, stream, reply, (call) => {
      this.counters.forwards++;
      this.forwarder.forward(call, storeId, timeoutOf(op), refusal);
    });
  }

  private checkSpace(command: WriteCommand): TypedError | null {
    if (this.engine.writeBacklogBytes > engineBacklogBytesMax) {
      return serverIsBusy('engine_write_backlog', busyRetryAfterMs);
    }
    if (!this.diskFull || command.mutations.every((m) => m.kind === 'delete')) return null;
    return diskFull(this.storeId);
  }

  /** EpochNotMatch with this shard and the ones to its right that splits have made of it. */
  private epochError(machine: ShardStateMachine): TypedError {
    const { shard } = machine;
    if (machine.phase === 'removed') return shardNotFound(shard.shardId);
    const shards: Shard[] = [shard];
    let endKey = shard.endKey;
    while (endKey.length > 0 && shards.length < epochShardsMax) {
      const next = this.replicas.ranges.find(shard.keyspaceId, endKey);
      const neighbour = next === undefined ? undefined : this.replicas.machine(next.shardId)?.shard;
      if (neighbour === undefined || epochOf(neighbour).version <= 1) break;
      shards.push(neighbour);
      endKey = neighbour.endKey;
    }
    return epochNotMatch(shards);
  }

  private fail(error: unknown): void {
    this.fatal(error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * Whether the operation was routed by an epoch that this replica can serve: the same range, and members no older than ours. A
 * replica that lags behind a membership change may serve who knows of it already. No epoch: not checked.
 */
function routedByEpoch(op: WireOp, epoch: Epoch): boolean {
  if (op.confVer === 0 && op.version === 0) return true;
  return op.version === epoch.version && op.confVer >= epoch.confVer;
}

function needsLeader(op: WireOp): boolean {
  if (op.kind === OpKind.write) return true;
  return op.consistency !== Consistency.STALE && op.consistency !== Consistency.FOLLOWER;
}

function timeoutOf(op: WireOp): number {
  return op.timeoutMs === 0 ? opTimeoutDefaultMs : Math.min(op.timeoutMs, opTimeoutMaxMs);
}

function droppedError(
  machine: ShardStateMachine,
  group: Group,
  outcome: Extract<ProposalOutcome, { status: 'dropped' }>,
): TypedError {
  switch (outcome.reason) {
    case 'notLeader':
    case 'stopped': {
      const storeId = machine.hostOf(outcome.leaderId);
      return notLeader(machine.shardId, { replicaId: storeId === 0 ? 0 : outcome.leaderId, storeId }, group.term());
    }
    case 'busy':
      return serverIsBusy('shard_proposals', busyRetryAfterMs);
    case 'transferring':
      return serverIsBusy('leader_transfer', busyRetryAfterMs);
    case 'confChangePending':
    case 'rejected':
      return serverIsBusy(`proposal_${outcome.reason}`, busyRetryAfterMs);
  }
}
