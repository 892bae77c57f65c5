import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import { sleep } from '../../src/base/runtime.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { ReplicaChange } from '../../src/gen/skerry/v1/placement.js';
import { encodeWriteCommand, OpKind } from '../../src/wire/kv_codec.js';
import { VirtualRuntime } from '../support/virtual_runtime.js';
import { set } from './machine_driver.js';
import type { OpResult } from './store_world.js';
import { StoreWorld } from './store_world.js';

/**
 * Whole stores under crashes, cut connections, splits, moved replicas and leaders. Each key has one client that writes one value after the
 * other, each as often as it takes under one session and sequence, and reads it back: it must find the value that
 * was acknowledged last. At the end faults stop and every client must come through.
 */
const keys = ['a', 'g', 'm', 's'];
const writesPerKey = 12;

class Client {
  /** The value that was acknowledged last. */
  acknowledged: string | null = null;
  private readonly world: StoreWorld;
  private readonly runtime: VirtualRuntime;
  private readonly prng: Prng;
  private readonly key: string;
  private readonly sessionId: number;

  constructor(world: StoreWorld, key: string, seed: number) {
    this.world = world;
    this.key = key;
    this.sessionId = key.charCodeAt(0);
    this.prng = new Prng(seed);
    this.runtime = new VirtualRuntime(world.clock, seed);
  }

  async run(): Promise<void> {
    for (let sequence = 1; sequence <= writesPerKey; sequence++) {
      const value = `${this.key}${sequence}`;
      await this.until((retry) => this.tryWrite(value, sequence, retry));
      this.acknowledged = value;
      await this.until(() => this.tryRead());
      await sleep(this.runtime, this.prng.int(0, 300));
    }
  }

  /** Tries until it works. */
  private async until(attempt: (retry: boolean) => Promise<boolean>): Promise<void> {
    for (let retry = false; !(await attempt(retry)); retry = true) await sleep(this.runtime, this.prng.int(10, 100));
  }

  private async tryWrite(value: string, sequence: number, retry: boolean): Promise<boolean> {
    const ackedBelow = sequence;
    const command = { sessionId: this.sessionId, sequence, ackedBelow, retry, mutations: [set(this.key, value)] };
    const result = await this.send(OpKind.write, encodeWriteCommand(command));
    if ('error' in result && result.error === 'sessionExpired')
      throw new Error(`${this.key}: the session was forgotten`);
    return 'applied' in result;
  }

  private async tryRead(): Promise<boolean> {
    const result = await this.send(OpKind.get, Buffer.from(this.key));
    if (!('value' in result)) return false;
    if (result.value !== this.acknowledged) {
      throw new Error(`${this.key}: read ${String(result.value)} after ${String(this.acknowledged)} was acknowledged`);
    }
    return true;
  }

  /** Asks any store; the shard is the one that this store believes in. */
  private send(kind: OpKind, body: Buffer): Promise<OpResult> {
    const ids = [...this.world.stores.keys()];
    const storeId = ids[this.prng.int(0, ids.length - 1)];
    if (storeId === undefined) return Promise.resolve({ error: 'no store' });
    const shardId = this.world.store(storeId).store.kv.findShard(1, Buffer.from(this.key));
    if (shardId === 0) return Promise.resolve({ error: 'no shard' });
    const change = { shardId, allowForward: this.prng.chance(0.5), timeoutMs: 2_000 };
    // A store that crashes takes its answer with it.
    const lost = sleep(this.runtime, 2_500).then(() => ({ error: 'no answer' }));
    return Promise.race([this.world.submit(storeId, kind, body, change), lost]);
  }
}

/** Breaks and changes things, one at a time, never a majority at once. */
class Faults {
  private readonly world: StoreWorld;
  private readonly prng: Prng;
  private nextShardId = 2;
  private nextReplicaId = 1_000;
  private down = 0;

  constructor(world: StoreWorld, prng: Prng) {
    this.world = world;
    this.prng = prng;
  }

  async step(): Promise<void> {
    const { world, prng } = this;
    const [a, b] = [prng.int(1, 4), prng.int(1, 4)];
    switch (prng.int(0, 6)) {
      case 0:
        if (this.down !== 0 || !world.stores.has(a)) return;
        this.down = a;
        await world.crashStore(a);
        return;
      case 1:
        await this.repair();
        return;
      case 2:
        if (a !== b) world.network.partition(a, b);
        return;
      case 3:
        world.network.healAll();
        return;
      case 4:
        this.onLeader((shardId, replicas) => {
          const to = replicas[prng.int(0, replicas.length - 1)]?.replicaId ?? 0;
          return { $case: 'transferLeader', value: { shardId, toReplicaId: to } };
        });
        return;
      case 5:
        this.split();
        return;
      default:
        this.move();
    }
  }

  async repair(): Promise<void> {
    this.world.network.healAll();
    if (this.down === 0) return;
    const storeId = this.down;
    this.down = 0;
    await this.world.startStore(storeId);
  }

  private split(): void {
    const splitKey = Buffer.from(keys[this.prng.int(1, keys.length - 1)] ?? 'm');
    this.onLeader((shardId, replicas, epoch) => {
      const into = { shardId: this.nextShardId++, replicaIds: replicas.map(() => this.nextReplicaId++) };
      return { $case: 'splitShard', value: { shardId, epoch, splitKey, into } };
    });
  }

  /** The next step of moving a replica: leave a joint state, swap a learner in, or add one. */
  private move(): void {
    this.onLeader((shardId, replicas, epoch) => {
      const learner = replicas.find((r) => r.role === ReplicaRole.LEARNER);
      const voters = replicas.filter((r) => r.role === ReplicaRole.VOTER);
      const isJoint = voters.length + (learner === undefined ? 0 : 1) < replicas.length;
      const free = [1, 2, 3, 4].find((storeId) => !replicas.some((r) => r.storeId === storeId));
      let changes: ReplicaChange[] = [];
      if (!isJoint && learner !== undefined) {
        const out = voters[this.prng.int(0, voters.length - 1)];
        changes = [{ ...learner, role: ReplicaRole.VOTER }];
        if (out !== undefined) changes.push({ ...out, role: ReplicaRole.UNSPECIFIED });
      } else if (!isJoint && free !== undefined) {
        changes = [{ replicaId: this.nextReplicaId++, storeId: free, role: ReplicaRole.LEARNER }];
      } else if (!isJoint) {
        return null;
      }
      return { $case: 'changeReplicas', value: { shardId, epoch, changes, joint: changes.length === 2 } };
    });
  }

  /** Gives a random shard's leader a command. */
  private onLeader(make: (...of: LeaderFacts) => Parameters<StoreWorld['placement']['command']>[1] | null): void {
    const led = [...this.world.stores.values()].flatMap(({ storeId, store }) =>
      [...store.replicas.machines()]
        .filter((machine) => store.multi.group(machine.shardId)?.isLeader() === true)
        .map((machine) => ({ storeId, shard: machine.shard })),
    );
    const chosen = led[this.prng.int(0, Math.max(0, led.length - 1))];
    if (chosen === undefined || !this.world.placement.sessions.has(chosen.storeId)) return;
    const { shardId, replicas, epoch } = chosen.shard;
    const command = make(shardId, replicas, epoch);
    if (command !== null) this.world.placement.command(chosen.storeId, command);
  }
}

type Shard = NonNullable<ReturnType<StoreWorld['shard']>>;
type LeaderFacts = [shardId: number, replicas: Shard['replicas'], epoch: Shard['epoch']];

async function run(seed: number): Promise<StoreWorld> {
  const world = await StoreWorld.start(4, seed);
  const prng = new Prng(seed * 7 + 1);
  await world.create(world.shard(1, [1, 2, 3]));
  const clients = keys.map((key) => new Client(world, key, prng.nextU32()));
  const faults = new Faults(world, prng);
  let left = clients.length;
  const failures: unknown[] = [];
  for (const client of clients) {
    void client
      .run()
      .catch((error: unknown) => failures.push(error))
      .finally(() => left--);
  }
  for (let step = 0; step < 60 && left > 0 && failures.length === 0; step++) {
    await faults.step();
    await world.clock.advance(prng.int(50, 1_500));
  }
  await faults.repair();
  await world.clock.until(() => left === 0, `seed ${seed}: every client comes through`, 120_000);
  if (failures[0] !== undefined) throw new Error(`seed ${seed}`, { cause: failures[0] });
  const fatals = [...world.stores.values()].flatMap((store) => store.fatals);
  if (fatals[0] !== undefined) throw new Error(`seed ${seed}: a store failed`, { cause: fatals[0] });
  return world;
}

for (const seed of [1, 2, 3, 4]) {
  t.test(`acknowledged writes are read back under faults, splits and moves (seed ${seed})`, async (t) => {
    const world = await run(seed);
    t.pass('every client came through');
    await world.close();
  });
}
