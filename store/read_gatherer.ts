import { invalidArgument, keyNotInShard, notLeader, serverIsBusy, shardNotFound } from '../src/base/wire_errors.js';
import type { TypedError } from '../src/base/wire_errors.js';
import type { Engine } from '../src/engine/engine.js';
import { EngineError } from '../src/engine/engine_error.js';
import { getManyKeysMax } from '../src/engine/limits.js';
import type { Group, ReadFailure } from '../src/multiraft/host.js';
import type { KvCall } from './kv_call.js';
import { busyRetryAfterMs } from './limits.js';
import type { ShardStateMachine } from './shard_state_machine.js';

/** A read that passed all checks. */
export interface ShardRead {
  readonly call: KvCall;
  readonly machine: ShardStateMachine;
  /** Engine keys that it wants; a scan wants none and runs by itself. */
  readonly engineKeys: readonly Buffer[];
  /** Values in the order of engineKeys. */
  finish(values: readonly (Buffer | null)[]): void;
}

/**
 * Reads of one turn: one readIndex per shard for all reads of a frame, then what is at hand in memory is answered, and the rest by
 * one getMany over all shards whose read point came in the same turn. The shard is looked at once more between the two: it may have been split, moved
 * away or overwritten by a snapshot while the round ran.
 */
export class ReadGatherer {
  private readonly engine: Engine;
  private readonly fatal: (error: Error) => void;
  /** Reads that wait for the end of their frame, by group. */
  private gathered = new Map<Group, ShardRead[]>();
  private ready: ShardRead[] = [];

  constructor(engine: Engine, fatal: (error: Error) => void) {
    this.engine = engine;
    this.fatal = fatal;
  }

  /** A read that needs a read point. It begins at the next flush(). */
  add(group: Group, read: ShardRead): void {
    const reads = this.gathered.get(group);
    if (reads === undefined) this.gathered.set(group, [read]);
    else reads.push(read);
  }

  /** Asks for the read points of what was added. Called at the end of every frame, within the same turn. */
  flush(): void {
    if (this.gathered.size === 0) return;
    const { gathered } = this;
    this.gathered = new Map();
    for (const [group, reads] of gathered) {
      group.readIndex((failure) => {
        for (const read of reads) {
          if (failure === null) this.run(read);
          else read.call.fail(readError(read.machine, group, failure));
        }
      });
    }
  }

  /** A read whose read point is there, or that needs none. */
  run(read: ShardRead): void {
    if (read.call.settled) return;
    const { machine } = read;
    machine.readsTaken++;
    if (machine.phase !== 'normal') {
      read.call.fail(
        machine.phase === 'installing' ? serverIsBusy('snapshot', busyRetryAfterMs) : shardNotFound(machine.shardId),
      );
      return;
    }
    // Its neighbour may serve these keys already.
    if (machine.isMerging) {
      read.call.fail(serverIsBusy('shard_merging', busyRetryAfterMs));
      return;
    }
    const outside = read.engineKeys.find((key) => !machine.shardKeys.contains(key));
    if (outside !== undefined) {
      read.call.fail(keyNotInShard(machine.shard, machine.shardKeys.userKey(outside)));
      return;
    }
    if (read.engineKeys.length === 0) {
      read.finish([]);
      return;
    }
    const atHand = this.engine.getNow(read.engineKeys);
    if (atHand !== null) {
      read.finish(atHand);
      return;
    }
    // The callbacks of one host turn run before microtasks do: their reads share one getMany.
    if (this.ready.length === 0) void Promise.resolve().then(() => this.fetch());
    this.ready.push(read);
  }

  private fetch(): void {
    const { ready } = this;
    this.ready = [];
    let group: ShardRead[] = [];
    let keys = 0;
    for (const read of ready) {
      if (keys > 0 && keys + read.engineKeys.length > getManyKeysMax) {
        this.fetchTogether(group);
        group = [];
        keys = 0;
      }
      group.push(read);
      keys += read.engineKeys.length;
    }
    this.fetchTogether(group);
  }

  private fetchTogether(reads: readonly ShardRead[]): void {
    const keys = reads.flatMap((read) => read.engineKeys);
    this.engine.getMany(keys).then(
      (values) => {
        let at = 0;
        for (const read of reads) {
          const from = at;
          at += read.engineKeys.length;
          read.finish(values.slice(from, at));
        }
      },
      (error: unknown) => this.failed(reads, error),
    );
  }

  private failed(reads: readonly ShardRead[], error: unknown): void {
    const first = reads[0];
    if (error instanceof EngineError && error.code === 'tooLarge' && first !== undefined) {
      // Together they are too large: one by one most of them are not.
      if (reads.length > 1) for (const read of reads) this.fetchTogether([read]);
      else
        first.call.fail(
          invalidArgument('keys', 'RESULT_TOO_LARGE', 'the values do not fit one reply: ask for fewer keys'),
        );
      return;
    }
    const typed = engineReadError(error);
    if (typed === null) this.fatal(error instanceof Error ? error : new Error(String(error)));
    else for (const read of reads) read.call.fail(typed);
  }
}

/** The answer to a read that the engine refused; null: the engine has failed. */
export function engineReadError(error: unknown): TypedError | null {
  if (!(error instanceof EngineError)) return null;
  if (error.code === 'busy') return serverIsBusy('engine_reads', busyRetryAfterMs);
  return error.code === 'closed' ? serverIsBusy('stopping', busyRetryAfterMs) : null;
}

function readError(machine: ShardStateMachine, group: Group, failure: ReadFailure): TypedError {
  switch (failure.reason) {
    case 'notLeader':
    case 'stopped': {
      const leader = { replicaId: failure.leaderId, storeId: machine.hostOf(failure.leaderId) };
      return notLeader(machine.shardId, leader, group.term());
    }
    case 'busy':
      return serverIsBusy('shard_reads', busyRetryAfterMs);
    case 'timeout':
      return notLeader(machine.shardId, { replicaId: 0, storeId: 0 }, group.term());
  }
}
