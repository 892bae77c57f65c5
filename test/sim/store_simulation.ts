import { createHash, type Hash } from 'node:crypto';
import { inspect } from 'node:util';
import { must } from '../../src/base/assert.js';
import { encodeKey, inRange, partitioningHash } from '../../src/base/encoded_key.js';
import { Prng } from '../../src/base/prng.js';
import { dataRange } from '../../src/engine/keys.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { encodeWriteCommand, OpKind, type Mutation } from '../../src/wire/kv_codec.js';
import { StoreWorld, type OpResult } from '../store/store_world.js';

/**
 * A cluster of real stores (all but their processes) on a virtual clock, network and disk, under faults drawn from a seed.
 *
 *   safety phase     clients write and read while links lose, delay, double and reorder messages, stores are cut off
 *                    and lose power with what they had not synced, leaders are moved and shards are split
 *   liveness phase   faults end, and every key must be written and read again within a bound of virtual time
 *
 * Judged: per-key bounds of a linearizable register (one writer each, growing numbers); each acknowledged
 * compare-and-swap took effect exactly once; ranges of shards are disjoint and cover the keyspace; replicas hold equal rows.
 *
 * Not here yet: placement's own code, membership moves, bit flips, clock rates, slow disks, the general
 * linearizability checker.
 */
export type Verdict =
  | { readonly kind: 'ok'; readonly hash: string; readonly counts: SimulationCounts }
  | { readonly kind: 'safety' | 'liveness' | 'crash'; readonly problem: string };

export interface SimulationCounts {
  writes: number;
  reads: number;
  swaps: number;
  undetermined: number;
  faults: number;
  shards: number;
}

interface Register {
  readonly key: string;
  readonly writer: Client;
  invoked: number;
  acked: number;
  seen: number;
  /** A write's fate is open: it may come later than the next one, so nothing is written any more. */
  retired: boolean;
}

interface Client {
  readonly sessionId: number;
  sequence: number;
}

class SafetyError extends Error {}
class LivenessError extends Error {}

const storeIds = [1, 2, 3];
const shardCount = 3;
const keyspaceId = 1;
const attemptsMax = 40;
const nothing = Buffer.alloc(0);

export async function simulate(seed: number, steps: number): Promise<Verdict> {
  const simulation = new StoreSimulation(seed);
  try {
    await simulation.run(steps);
    return { kind: 'ok', hash: simulation.traceHash(), counts: simulation.counts };
  } catch (error) {
    const kind = error instanceof SafetyError ? 'safety' : error instanceof LivenessError ? 'liveness' : 'crash';
    return { kind, problem: inspect(error) };
  }
}

class StoreSimulation {
  readonly counts: SimulationCounts = { writes: 0, reads: 0, swaps: 0, undetermined: 0, faults: 0, shards: shardCount };
  private readonly seed: number;
  private readonly prng: Prng;
  private readonly trace: Hash = createHash('sha256');
  private readonly registers: Register[] = [];
  private readonly clients: Client[];
  private readonly busy = new Set<Promise<void>>();
  private world: StoreWorld | null = null;
  private failure: Error | null = null;
  private counterAcked = 0;
  private counterOpen = 0;
  private nextShardId = 100;

  constructor(seed: number) {
    this.seed = seed;
    this.prng = new Prng(seed);
    this.clients = Array.from({ length: 6 }, (_, i) => ({ sessionId: 1000 + i, sequence: 0 }));
    for (let i = 0; i < 12; i++) {
      const writer = must(this.clients[i % this.clients.length], 'a client');
      this.registers.push({ key: `register-${i}`, writer, invoked: 0, acked: 0, seen: 0, retired: false });
    }
  }

  traceHash(): string {
    return this.trace.digest('hex');
  }

  async run(steps: number): Promise<void> {
    const world = await StoreWorld.start(storeIds.length, this.seed);
    this.world = world;
    await world.create(...world.hashShards(shardCount, storeIds, partitioningHash));
    for (let step = 0; step < steps; step++) {
      this.startWork();
      await this.injectFaults(world);
      await world.clock.advance(this.prng.int(5, 250));
      this.checkFailures(world);
    }
    await this.converge(world);
    await this.compareReplicas(world);
    this.checkRanges(world);
    await world.close();
  }

  // The workload.

  private startWork(): void {
    for (const register of this.registers) {
      if (this.prng.chance(0.3) && !register.retired && register.invoked === register.acked)
        this.begin(this.write(register));
      if (this.prng.chance(0.3)) this.begin(this.read(register));
    }
    if (this.prng.chance(0.3)) this.begin(this.increment());
  }

  private begin(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        this.failure ??= error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => this.busy.delete(tracked));
    this.busy.add(tracked);
  }

  private async write(register: Register): Promise<void> {
    const value = ++register.invoked;
    const key = Buffer.from(register.key);
    const result = await this.mutate(register.writer, { kind: 'set', key, value: Buffer.from(String(value)) });
    if (result === null) {
      register.retired = true;
      this.counts.undetermined++;
      return;
    }
    register.acked = value;
    this.counts.writes++;
    this.note(`w ${register.key} ${value}`);
  }

  private async read(register: Register): Promise<void> {
    const atLeast = Math.max(register.acked, register.seen);
    const result = await this.attempt(Buffer.from(register.key), OpKind.get, Buffer.from(register.key));
    if (result === null || !('value' in result)) return;
    const value = Number(result.value ?? 0);
    if (value < atLeast || value > register.invoked) {
      throw new SafetyError(`${register.key}: read ${value}, allowed ${atLeast} to ${register.invoked}`);
    }
    register.seen = Math.max(register.seen, value);
    this.counts.reads++;
    this.note(`r ${register.key} ${value}`);
  }

  /** Adds one to a counter that all clients share, by compare-and-swap from what was read. */
  private async increment(): Promise<void> {
    const client = must(this.clients[this.prng.int(0, this.clients.length - 1)], 'a client');
    const key = Buffer.from('counter');
    const present = await this.attempt(key, OpKind.get, key);
    if (present === null || !('value' in present)) return;
    const expected = present.value === null ? null : Buffer.from(present.value);
    const value = Buffer.from(String(Number(present.value ?? 0) + 1));
    const result = await this.mutate(client, { kind: 'swap', key, expected, value });
    if (result === null) this.counterOpen++;
    else if ('applied' in result && result.applied) this.counterAcked++;
    this.counts.swaps++;
    this.note(`c ${value.toString()} ${JSON.stringify(result)}`);
  }

  /** One write, retried with its session and sequence until its outcome is certain; null: it stays open. */
  private async mutate(client: Client, mutation: Mutation): Promise<OpResult | null> {
    const sequence = ++client.sequence;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const command = {
        sessionId: client.sessionId,
        sequence,
        ackedBelow: 0,
        retry: attempt > 0,
        mutations: [mutation],
      };
      const result = await this.send(mutation.key, OpKind.write, encodeWriteCommand(command));
      if ('applied' in result) return result;
      await this.pause();
    }
    return null;
  }

  private async attempt(key: Buffer, kind: OpKind, body: Buffer): Promise<OpResult | null> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const result = await this.send(key, kind, body);
      if (!('error' in result)) return result;
      await this.pause();
    }
    return null;
  }

  /** To the leader that was reported last, or to any store: a client's knowledge is old at times. */
  private async send(key: Buffer, kind: OpKind, body: Buffer): Promise<OpResult> {
    const world = must(this.world, 'the world');
    const report = this.shardOf(world, key);
    const guess = report?.shard?.replicas.find((r) => r.replicaId === report.leaderReplicaId)?.storeId ?? 0;
    const storeId = this.prng.chance(0.7) && world.stores.has(guess) ? guess : this.prng.int(1, storeIds.length);
    if (!world.stores.has(storeId)) return { error: 'unreachable' };
    const change = { shardId: report?.shard?.shardId ?? 1, timeoutMs: 2_000, allowForward: this.prng.chance(0.5) };
    const answer = world.submit(storeId, kind, body, change);
    // A store that loses power answers nothing: the client's own clock ends the wait.
    return Promise.race([answer, this.after(3_000).then((): OpResult => ({ error: 'no answer' }))]);
  }

  private shardOf(world: StoreWorld, key: Buffer): { shard?: Shard | undefined; leaderReplicaId: number } | null {
    const encoded = encodeKey(partitioningHash, key);
    for (const report of world.placement.reports.values()) {
      const { shard } = report;
      if (shard !== undefined && inRange(encoded, shard.startKey, shard.endKey)) return report;
    }
    return null;
  }

  private pause(): Promise<void> {
    return this.after(this.prng.int(50, 500));
  }

  private after(ms: number): Promise<void> {
    const world = must(this.world, 'the world');
    return new Promise((resolve) => void world.clock.addTimer(ms, resolve));
  }

  private note(event: string): void {
    this.trace.update(`${must(this.world, 'the world').clock.nowMs.toFixed(3)} ${event}\n`);
  }

  // Faults.

  private async injectFaults(world: StoreWorld): Promise<void> {
    const { prng } = this;
    if (prng.chance(0.06)) this.fault(() => world.network.partition(prng.int(1, 3), prng.int(1, 3)));
    if (prng.chance(0.1)) world.network.healAll();
    if (prng.chance(0.04)) await this.powerCut(world);
    if (prng.chance(0.03)) this.fault(() => this.moveLeader(world));
    if (prng.chance(0.03)) this.fault(() => this.split(world));
    const rate = prng.chance(0.3) ? 0.1 : 0;
    world.network.setDefaultPolicy({
      delayMinMs: 0.1,
      delayMaxMs: 5,
      dropRate: rate,
      duplicateRate: rate,
      reorderRate: rate,
    });
  }

  private fault(inject: () => void): void {
    this.counts.faults++;
    inject();
  }

  private async powerCut(world: StoreWorld): Promise<void> {
    const storeId = this.prng.int(1, storeIds.length);
    if (!world.stores.has(storeId)) return;
    this.counts.faults++;
    await world.crashStore(storeId);
    await world.clock.advance(this.prng.int(0, 3_000));
    await world.startStore(storeId);
  }

  private moveLeader(world: StoreWorld): void {
    const report = this.anyReport(world);
    const to = report?.shard?.replicas[this.prng.int(0, storeIds.length - 1)];
    const leader = report?.shard?.replicas.find((replica) => replica.replicaId === report.leaderReplicaId);
    if (report?.shard === undefined || to === undefined || leader === undefined) return;
    if (!world.placement.sessions.has(leader.storeId)) return;
    const value = { shardId: report.shard.shardId, toReplicaId: to.replicaId };
    world.placement.command(leader.storeId, { $case: 'transferLeader', value });
  }

  private split(world: StoreWorld): void {
    const report = this.anyReport(world);
    const shard = report?.shard;
    const leader = shard?.replicas.find((replica) => replica.replicaId === report?.leaderReplicaId);
    if (shard === undefined || leader === undefined || !world.placement.sessions.has(leader.storeId)) return;
    const splitKey = Buffer.alloc(2);
    const low = shard.startKey.length === 0 ? 0 : Buffer.from(shard.startKey).readUInt16BE(0);
    const high = shard.endKey.length === 0 ? 65_536 : Buffer.from(shard.endKey).readUInt16BE(0);
    const token = Math.floor((low + high) / 8) * 4;
    if (token <= low || token >= high) return;
    splitKey.writeUInt16BE(token, 0);
    const shardId = this.nextShardId++;
    const into = { shardId, replicaIds: shard.replicas.map((replica) => shardId * 10 + replica.storeId) };
    const value = { shardId: shard.shardId, epoch: shard.epoch, splitKey, into };
    world.placement.command(leader.storeId, { $case: 'splitShard', value });
  }

  private anyReport(world: StoreWorld): { shard?: Shard | undefined; leaderReplicaId: number } | undefined {
    const reports = [...world.placement.reports.values()];
    return reports[this.prng.int(0, reports.length - 1)];
  }

  // Judgement.

  private checkFailures(world: StoreWorld): void {
    if (this.failure !== null) throw this.failure;
    for (const { storeId, fatals } of world.stores.values()) {
      const [fatal] = fatals;
      if (fatal !== undefined) throw new Error(`store ${storeId} ended itself`, { cause: fatal });
    }
  }

  /** Faults end here. Everything must be served again, and what was promised must be there. */
  private async converge(world: StoreWorld): Promise<void> {
    world.network.healAll();
    world.network.setDefaultPolicy({ delayMinMs: 0.1, delayMaxMs: 0.5, dropRate: 0, duplicateRate: 0, reorderRate: 0 });
    await world.clock.advance(10_000);
    await this.drain(world);
    const rounds = this.registers.map((register) => this.read(register));
    for (const register of this.registers) if (!register.retired) rounds.push(this.write(register));
    for (const round of rounds) this.begin(round);
    await this.drain(world);
    for (const register of this.registers) {
      if (!register.retired && register.acked !== register.invoked) {
        throw new LivenessError(`${register.key} cannot be written after the faults ended`);
      }
    }
    const key = Buffer.from('counter');
    const final = await world.clock.resolve(this.attempt(key, OpKind.get, key));
    if (final === null || !('value' in final))
      throw new LivenessError('the counter cannot be read after the faults ended');
    const value = Number(final.value ?? 0);
    if (value < this.counterAcked || value > this.counterAcked + this.counterOpen) {
      throw new SafetyError(
        `counter is ${value}: ${this.counterAcked} swaps were acknowledged, ${this.counterOpen} are open`,
      );
    }
    this.note(`end ${value}`);
  }

  private async drain(world: StoreWorld): Promise<void> {
    try {
      await world.clock.until(() => this.busy.size === 0, 'all operations end', 180_000);
    } catch (error) {
      throw new LivenessError('operations do not end after the faults ended', { cause: error });
    }
    this.checkFailures(world);
  }

  /** Replicas that have applied the same have the same rows. */
  private async compareReplicas(world: StoreWorld): Promise<void> {
    await world.clock.advance(10_000);
    const { start, end } = dataRange(keyspaceId, nothing, nothing);
    const views: { storeId: number; rows: Map<string, string> }[] = [];
    for (const { storeId, engine } of world.stores.values()) {
      const options = { start, end, limit: 100_000, maxBytes: 2 ** 30, reverse: false, keysOnly: false };
      const page = await world.clock.resolve(engine.scan(options));
      views.push({
        storeId,
        rows: new Map(page.rows.map(({ key, value }) => [key.toString('latin1'), value.toString()])),
      });
    }
    const keys = new Set(views.flatMap(({ rows }) => [...rows.keys()]));
    for (const key of keys) {
      const held = views.map(({ storeId, rows }) => `store ${storeId}: ${rows.get(key) ?? 'nothing'}`);
      if (new Set(views.map(({ rows }) => rows.get(key))).size === 1) continue;
      throw new SafetyError(`replicas differ at ${JSON.stringify(key)}: ${held.join(', ')}\n${this.positions(world)}`);
    }
  }

  /** Every replica's place, for people. */
  private positions(world: StoreWorld): string {
    return [...world.stores.values()]
      .flatMap(({ storeId, store }) =>
        [...store.multi.groups()].map((group) => {
          const { term, role, commit, applied, lastIndex } = group.status();
          const machine = store.replicas.machine(group.groupId);
          const { version = 0 } = machine?.shard.epoch ?? {};
          return `store ${storeId} shard ${group.groupId} v${version} ${machine?.phase ?? ''}: ${role} term ${term} commit ${commit} applied ${applied} last ${lastIndex}`;
        }),
      )
      .join('\n');
  }

  private checkRanges(world: StoreWorld): void {
    for (const { storeId, store } of world.stores.values()) {
      const shards = [...store.multi.groups()].map(
        (group) => must(store.replicas.machine(group.groupId), 'a machine').shard,
      );
      shards.sort((a, b) => Buffer.compare(a.startKey, b.startKey));
      let at: Uint8Array = nothing;
      for (const shard of shards) {
        if (Buffer.compare(shard.startKey, at) !== 0)
          throw new SafetyError(`store ${storeId}: gap or overlap at shard ${shard.shardId}`);
        at = shard.endKey;
      }
      if (at.length !== 0) throw new SafetyError(`store ${storeId}: the keyspace's end is not covered`);
      this.counts.shards = shards.length;
    }
  }
}
