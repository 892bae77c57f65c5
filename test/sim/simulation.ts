import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { Prng } from '../../src/base/prng.js';
import { checkHistory } from '../linearizability/check_history.js';
import { VirtualClock } from '../support/virtual_runtime.js';
import { SimCluster } from './cluster.js';
import { Faults } from './faults.js';
import type { FaultName, PlanChange } from './plan.js';
import { planOf } from './plan.js';
import { RaftOracle } from './raft_oracle.js';
import { checkCover, ShardOracle } from './shard_oracle.js';
import type { FailureKind } from './verdict.js';
import { failureKindOf, LivenessError, SafetyError, UndecidedError } from './verdict.js';
import { Workload } from './workload.js';

/*
 * The deterministic simulator: whole clusters in one process, with the real routing client, the real stores and the real
 * placement members; only clock, network, disk, engine and randomness are simulated. A seed decides everything, so a
 * run can be repeated to the last event.
 *
 *   plan.ts        what a seed decides: the cluster's shape, the mix of faults
 *   net.ts         the network: weather, cuts in one or both directions, total or partial
 *   machine.ts     a machine with a disk and a process (store_machine.ts, placement_machine.ts): power cuts, kills, pauses,
 *                  clocks that run fast or slow, syncs that are slow or fail
 *   faults.ts      the driver of faults, and of what people ask for: moves, drains, splits, merges, transfers
 *   harm_guard.ts  when a disk may be harmed without asking for more than a majority can give
 *   placement_changes.ts    members of placement that are added and removed, and the death of the one that leads while an operator
 *                  runs; what befalls every machine (kills, power cuts, pauses, cuts, failed syncs) befalls them too
 *   workload.ts    the clients and their history
 *   raft_oracle.ts, shard_oracle.ts    what must hold at every moment
 *
 * A run has a safety phase, in which faults happen, and a liveness phase: faults end, every machine runs, and within a bound of
 * virtual time every shard must have all its voters, caught up, placement must have the members that it was asked to have,
 * and every key must be read and written. Then the whole history must be linearizable. An operation that the client gave up with
 * any code but UNDETERMINED must have had no effect.
 *
 * Missing: placement members never lose a disk, and no bit of one turns over.
 */

export interface Counts {
  readonly answered: number;
  readonly open: number;
  readonly refused: number;
  readonly faults: number;
  readonly shards: number;
  /** Shards that became a part of another one. */
  readonly merged: number;
  /** Pairs of replicas found equal at one applied index. */
  readonly compared: number;
  readonly virtualMs: number;
}

export interface Outcome {
  readonly seed: number;
  readonly failure: { readonly kind: FailureKind; readonly problem: string } | null;
  /** SHA-256 over every event of the run. */
  readonly hash: string;
  readonly counts: Counts;
  readonly faults: ReadonlyMap<FaultName, number>;
  readonly codes: ReadonlyMap<string, number>;
  /** The events, if they were asked for. */
  readonly trace: readonly string[];
}

export interface SimulationOptions extends PlanChange {
  readonly keepTrace?: boolean;
}

/** Virtual time that the cluster has to come back into order after the faults. */
const convergenceMs = 90_000;
/** Steps between two looks at all rows of all replicas. */
const shardLookSteps = 10;

export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Outcome> {
  const simulation = new Simulation(seed, options);
  let failure: Outcome['failure'] = null;
  try {
    await simulation.run();
  } catch (error) {
    failure = { kind: failureKindOf(error), problem: inspect(error) };
  }
  return simulation.outcome(failure);
}

class Simulation {
  private readonly seed: number;
  private readonly options: SimulationOptions;
  private readonly clock = new VirtualClock();
  private readonly prng: Prng;
  private readonly cluster: SimCluster;
  private readonly workload: Workload;
  private readonly faults: Faults;
  private readonly storeRaft = new RaftOracle();
  private readonly placementRaft = new RaftOracle();
  private readonly shards = new ShardOracle();
  private readonly steps: number;
  private readonly hash = createHash('sha256');
  private readonly trace: string[] = [];
  private broken: Error | null = null;

  constructor(seed: number, options: SimulationOptions) {
    this.seed = seed;
    this.options = options;
    this.prng = new Prng(seed);
    const plan = planOf(seed, options);
    this.steps = plan.steps;
    this.cluster = new SimCluster(this.clock, plan, this.prng.nextU32(), {
      note: (event) => this.note(event),
      unexpected: (error) => (this.broken ??= error),
    });
    this.workload = new Workload(this.cluster.around, plan, this.prng.nextU32());
    this.faults = new Faults(this.cluster, plan, this.workload, new Prng(this.prng.nextU32()));
    this.note(`plan ${JSON.stringify(plan)}`);
  }

  async run(): Promise<void> {
    await this.cluster.begin(planOf(this.seed, this.options).shards);
    await this.faults.begin();
    this.workload.start();
    for (let step = 0; step < this.steps; step++) {
      this.faults.step();
      await this.clock.advance(this.prng.int(5, 150));
      this.observe(step % shardLookSteps === 0);
    }
    await this.converge();
    await this.judge();
  }

  outcome(failure: Outcome['failure']): Outcome {
    const { counts, codes } = this.workload;
    let faults = 0;
    for (const count of this.faults.counts.values()) faults += count;
    return {
      seed: this.seed,
      failure,
      hash: this.hash.digest('hex'),
      counts: {
        ...counts,
        faults,
        shards: this.cluster.shards().length,
        merged: this.shards.mergedCount,
        compared: this.shards.compared,
        virtualMs: this.clock.nowMs,
      },
      faults: this.faults.counts,
      codes,
      trace: this.trace,
    };
  }

  private observe(withRows: boolean): void {
    if (this.broken !== null) throw this.broken;
    for (const { machine, store } of this.cluster.running()) {
      const { raftLog } = machine;
      if (raftLog === null || machine.runtime?.isPaused === true) continue;
      this.storeRaft.observe({ name: machine.name, multi: store.multi, raftLog });
      if (withRows) this.shards.observe(machine.name, store, machine.engine);
    }
    for (const { name, member, raftLog, runtime } of this.cluster.placements) {
      if (member === null || raftLog === null || runtime?.isPaused === true) continue;
      this.placementRaft.observe({ name, multi: member.multi, raftLog });
    }
  }

  private async converge(): Promise<void> {
    await this.faults.end();
    this.workload.stop();
    const until = this.clock.nowMs + convergenceMs;
    for (;;) {
      const problem =
        this.workload.running > 0 ? `${this.workload.running} lanes of clients run` : this.cluster.disorder();
      if (problem === null) break;
      if (this.clock.nowMs >= until) {
        throw new LivenessError(`the cluster does not come back into order: ${problem}\n${this.cluster.describe()}`);
      }
      await this.clock.advance(100);
      this.observe(false);
    }
    this.note('in order');
    try {
      await this.clock.resolve(this.workload.touchAll());
    } catch (error) {
      throw new LivenessError('a key cannot be used although the cluster is in order', { cause: error });
    }
  }

  private async judge(): Promise<void> {
    // Everybody applies what there is.
    await this.clock.advance(2_000);
    this.observe(true);
    checkCover(this.cluster.shards());
    const { verdict } = checkHistory(this.workload.history.history());
    if (verdict.kind === 'violation') throw new SafetyError(`not linearizable: ${verdict.key}: ${verdict.detail}`);
    if (verdict.kind === 'unknown') throw new UndecidedError(`${verdict.key}: ${verdict.reason}`);
    if (this.broken !== null) throw this.broken;
  }

  private note(event: string): void {
    const line = `${this.clock.nowMs.toFixed(3)} ${event}`;
    this.hash.update(line).update('\n');
    if (this.options.keepTrace === true) this.trace.push(line);
  }
}
