import { Prng } from '../../src/base/prng.js';
import type { AdminClient } from '../../src/client/index.js';
import { SkerryError } from '../../src/client/index.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { isMerge } from '../../placement/operators/operator.js';
import type { SimCluster } from './cluster.js';
import { flipBit } from './flip_bit.js';
import { mayLoseOne } from './harm_guard.js';
import { diskBytes, diskReserveBytes } from './machine.js';
import { PlacementChanges } from './placement_changes.js';
import type { FaultName, Plan } from './plan.js';
import { faultNames, isPlacementFault } from './plan.js';
import type { Workload } from './workload.js';

/** What goes wrong, and what people and placement change meanwhile: one draw per kind and step. */
export class Faults {
  readonly counts = new Map<FaultName, number>();
  private readonly cluster: SimCluster;
  private readonly plan: Plan;
  private readonly workload: Workload;
  private readonly prng: Prng;
  /** Of merges alone (plan.ts). */
  private readonly mergePrng: Prng;
  private readonly cancelPrng: Prng;
  /** Operators that somebody wants to see the end of. */
  private readonly givenUp = new Set<number>();
  private readonly placement: PlacementChanges;
  private admin: AdminClient | null = null;
  /** Changes of placement's members that the admin client may not have heard of. */
  private adminAsOf = 0;
  private over = false;

  constructor(cluster: SimCluster, plan: Plan, workload: Workload, prng: Prng) {
    this.cluster = cluster;
    this.plan = plan;
    this.workload = workload;
    this.prng = prng;
    this.mergePrng = new Prng(plan.mergeSeed);
    this.cancelPrng = new Prng(plan.cancelSeed);
    this.placement = new PlacementChanges(cluster, plan.placementSeed);
  }

  async begin(): Promise<void> {
    await this.cluster.clock.resolve(this.connected());
  }

  /** People tell their tools where placement is now. */
  private async connected(): Promise<AdminClient> {
    const { agreed } = this.placement;
    if (this.admin !== null && this.adminAsOf === agreed) return this.admin;
    const admin = await this.cluster.admin();
    this.admin?.close();
    this.admin = admin;
    this.adminAsOf = agreed;
    return admin;
  }

  step(): void {
    for (const name of faultNames) {
      if (!this.drawOf(name).chance(this.plan.rates[name])) continue;
      if (this[name]()) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    }
  }

  private drawOf(name: FaultName): Pick<Prng, 'chance'> {
    if (name === 'merge') return this.mergePrng;
    if (name === 'cancelMerge') return this.cancelPrng;
    return isPlacementFault(name) ? this.placement : this.prng;
  }

  /** Nothing goes wrong any more, and what was broken is repaired as people would. */
  async end(): Promise<void> {
    this.over = true;
    const { net, machines, stores } = this.cluster;
    this.note('the faults end');
    net.healAll();
    net.calm();
    for (const machine of machines) {
      machine.slowSyncMs = 0;
      machine.disk.totalBytes = diskBytes;
      machine.excuses.delete('fullDisk');
      machine.resume();
      machine.boot();
    }
    for (const { storeId } of stores) if (storeId !== 0) await this.undrain(storeId);
  }

  // The network.

  private weather(): boolean {
    const { prng, cluster } = this;
    const delayMs = [0.5, 5, 50][prng.int(0, 2)] ?? 0.5;
    const loss = prng.chance(0.5) ? 0.2 * prng.random() : 0;
    cluster.net.setWeather(delayMs, loss);
    this.note(`weather: up to ${delayMs} ms, ${(loss * 100).toFixed(1)}% lost`);
    return true;
  }

  private isolate(): boolean {
    const { machines, net } = this.cluster;
    const { name } = this.anyOf(machines);
    for (const other of machines) {
      if (other.name === name) continue;
      net.cut(name, other.name);
      net.cut(other.name, name);
    }
    this.note(`${name} is isolated`);
    return true;
  }

  private cutOneWay(): boolean {
    const { machines, net } = this.cluster;
    const [from, to] = [this.anyOf(machines), this.anyOf(machines)];
    if (from === to) return false;
    net.cut(from.name, to.name);
    this.note(`nothing passes from ${from.name} to ${to.name}`);
    return true;
  }

  /** Two machines that still reach everybody else: a partial partition. */
  private cutPair(): boolean {
    const { machines, net } = this.cluster;
    const [a, b] = [this.anyOf(machines), this.anyOf(machines)];
    if (a === b) return false;
    net.cut(a.name, b.name);
    net.cut(b.name, a.name);
    this.note(`${a.name} and ${b.name} are cut off from each other`);
    return true;
  }

  private heal(): boolean {
    if (this.cluster.net.cutCount === 0) return false;
    this.cluster.net.healAll();
    this.note('the network heals');
    return true;
  }

  // Machines.

  private powerCut(): boolean {
    const machine = this.anyOf(this.cluster.machines);
    if (machine.state === 'down') return false;
    machine.powerCut();
    this.later(this.prng.int(10, 4_000), () => machine.boot());
    return true;
  }

  /** The power of all stores fails at once: what nobody had synced is gone everywhere. */
  private outage(): boolean {
    const up = this.cluster.stores.filter((machine) => machine.state !== 'down');
    for (const machine of up) {
      machine.powerCut();
      this.later(this.prng.int(10, 2_000), () => machine.boot());
    }
    return up.length > 0;
  }

  private kill(): boolean {
    const machine = this.anyOf(this.cluster.machines);
    if (machine.state === 'down') return false;
    machine.kill();
    this.later(this.prng.int(10, 2_000), () => machine.boot());
    return true;
  }

  private pause(): boolean {
    const machine = this.anyOf(this.cluster.machines);
    if (machine.state !== 'running') return false;
    machine.pause();
    this.later(this.prng.chance(0.5) ? this.prng.int(50, 800) : this.prng.int(800, 5_000), () => machine.resume());
    return true;
  }

  private slowSync(): boolean {
    const machine = this.anyOf(this.cluster.machines);
    machine.slowSyncMs = [30, 300, 2_000][this.prng.int(0, 2)] ?? 30;
    this.note(`syncs of ${machine.name} take ${machine.slowSyncMs} ms and more`);
    this.later(this.prng.int(500, 6_000), () => (machine.slowSyncMs = 0));
    return true;
  }

  private failSync(): boolean {
    const machine = this.anyOf(this.cluster.machines);
    if (machine.state !== 'running') return false;
    this.note(`the next sync of ${machine.name} fails`);
    machine.failNextSync();
    return true;
  }

  private fullDisk(): boolean {
    const machine = this.anyOf(this.cluster.stores);
    if (machine.state !== 'running') return false;
    machine.excuses.add('fullDisk');
    machine.disk.totalBytes = machine.disk.usedBytes() + Math.floor(diskReserveBytes / 2);
    this.note(`the disk of ${machine.name} is full`);
    this.later(this.prng.int(2_000, 10_000), () => {
      machine.disk.totalBytes = diskBytes;
      machine.excuses.delete('fullDisk');
    });
    return true;
  }

  /** A bit of a store's Raft log turns over while the store is off. */
  private flipBit(): boolean {
    const machine = this.anyOf(this.cluster.stores);
    if (machine.state !== 'running' || !mayLoseOne(this.cluster)) return false;
    machine.powerCut();
    machine.excuses.add('damage');
    void flipBit(machine.disk, this.prng).then((where) => {
      if (where === null) machine.excuses.delete('damage');
      else this.note(`a bit of ${machine.name} flips: ${where}`);
      this.later(this.prng.int(10, 2_000), () => machine.boot());
    });
    return true;
  }

  private loseDisk(): boolean {
    const machine = this.anyOf(this.cluster.stores);
    if (machine.state === 'booting' || !mayLoseOne(this.cluster)) return false;
    machine.loseDisk();
    // Until its replicas are rebuilt elsewhere no other disk may be harmed: mayLoseOne() sees that they are missing.
    this.later(this.prng.int(10, 2_000), () => machine.boot());
    return true;
  }

  // Placement members.

  private addMember(): boolean {
    return this.placement.add();
  }

  private removeMember(): boolean {
    return this.placement.remove();
  }

  private killPlacementLeader(): boolean {
    const machine = this.placement.killLeader();
    if (machine !== null) this.later(this.placement.restartMs(), () => machine.boot());
    return machine !== null;
  }

  // Clients.

  private killClient(): boolean {
    this.workload.killClient();
    return true;
  }

  // What people ask for.

  private transferLeader(): boolean {
    const shard = this.anyShard();
    if (shard === null) return false;
    const { storeId } = this.anyOf(shard.replicas);
    const { shardId } = shard;
    this.ask(`leader of shard ${shardId} to store ${storeId}`, (admin) =>
      admin.transferLeader({ shardId, storeId, wait: false }),
    );
    return true;
  }

  private split(): boolean {
    const shard = this.anyShard();
    if (shard === null || this.cluster.shards().length >= 12) return false;
    const low = shard.startKey.length === 0 ? 0 : Buffer.from(shard.startKey).readUInt16BE(0);
    const high = shard.endKey.length === 0 ? 65_536 : Buffer.from(shard.endKey).readUInt16BE(0);
    const token = Math.floor((low + high) / 8) * 4;
    if (token <= low || token >= high) return false;
    const splitKey = Buffer.alloc(2);
    splitKey.writeUInt16BE(token, 0);
    const { shardId } = shard;
    this.ask(`split of shard ${shardId} at ${token}`, (admin) => admin.splitShard({ shardId, splitKey, wait: false }));
    return true;
  }

  /** Two neighbours on the same stores, if there are any. */
  private merge(): boolean {
    const shards = this.cluster.shards();
    const storesOf = ({ replicas }: (typeof shards)[number]): string =>
      replicas
        .map((r) => r.storeId)
        .sort((a, b) => a - b)
        .join();
    const pairs = shards.flatMap((left, at) => {
      const right = shards[at + 1];
      return right !== undefined && storesOf(left) === storesOf(right) ? [[left.shardId, right.shardId] as const] : [];
    });
    const pair = pairs[this.mergePrng.int(0, Math.max(0, pairs.length - 1))];
    if (pair === undefined) return false;
    const [shardId, targetShardId] = this.mergePrng.chance(0.5) ? pair : [pair[1], pair[0]];
    this.ask(`merge of shard ${shardId} into ${targetShardId}`, (admin) =>
      admin.mergeShards({ shardId, targetShardId, wait: false }),
    );
    return true;
  }

  /** Somebody gives a merge up: more often than not at about the moment at which its stores carry it out. */
  private cancelMerge(): boolean {
    const running = this.cluster.placementLeader()?.leading?.planner.table.running() ?? [];
    const merge = [...running].find(({ operatorId, plan }) => isMerge(plan) && !this.givenUp.has(operatorId));
    if (merge === undefined) return false;
    const { operatorId, plan } = merge;
    this.givenUp.add(operatorId);
    const cancel = (): void =>
      this.ask(`end of operator ${operatorId}, the merge of shard ${plan.shardId}`, (admin) =>
        admin.cancelOperator(operatorId, false),
      );
    const delayMs = this.cancelPrng.int(0, 120);
    if (this.cancelPrng.chance(0.3)) this.later(delayMs, cancel);
    else this.whenBegun(plan.shardId, 500, () => this.later(delayMs, cancel));
    return true;
  }

  /** Looks every 10 ms, so many times. */
  private whenBegun(shardId: number, looks: number, fn: () => void): void {
    const waits = this.cluster.running().some(({ store }) => store.replicas.machine(shardId)?.isMerging === true);
    if (waits) fn();
    else if (looks > 0) this.later(10, () => this.whenBegun(shardId, looks - 1, fn));
  }

  private moveReplica(): boolean {
    const shard = this.anyShard();
    if (shard === null) return false;
    const from = this.anyOf(shard.replicas.filter((r) => r.role === ReplicaRole.VOTER)).storeId;
    const free = this.cluster.stores
      .map((m) => m.storeId)
      .filter((id) => !shard.replicas.some((r) => r.storeId === id));
    const to = free[this.prng.int(0, Math.max(0, free.length - 1))];
    if (to === undefined || to === 0) return false;
    const { shardId } = shard;
    this.ask(`replica of shard ${shardId} from store ${from} to ${to}`, (admin) =>
      admin.moveReplica({ shardId, fromStoreId: from, toStoreId: to, wait: false }),
    );
    return true;
  }

  /** One store at a time, and taken back a while later. */
  private drain(): boolean {
    const { storeId } = this.anyOf(this.cluster.stores);
    if (storeId === 0 || this.cluster.stores.length < 4) return false;
    this.ask(`drain of store ${storeId}`, (admin) => admin.drainStore(storeId));
    this.later(this.prng.int(2_000, 8_000), () => {
      this.ask(`end of the drain of store ${storeId}`, (admin) => admin.drainStore(storeId, true));
    });
    return true;
  }

  private async undrain(storeId: number): Promise<void> {
    const until = this.cluster.clock.nowMs + 60_000;
    for (;;) {
      try {
        await this.cluster.clock.resolve(this.connected().then((admin) => admin.drainStore(storeId, true)));
        return;
      } catch (error) {
        // A drain that was complete has removed the store: placement refuses to take it back.
        if (error instanceof SkerryError && error.code === 'FAILED_PRECONDITION') return;
        if (!(error instanceof SkerryError) || this.cluster.clock.nowMs > until) throw error;
        await this.cluster.clock.advance(200);
      }
    }
  }

  private ask(what: string, call: (admin: AdminClient) => Promise<unknown>): void {
    this.note(`asked for: ${what}`);
    this.connected()
      .then(call)
      .then(
        () => this.note(`begun: ${what}`),
        (error: unknown) => {
          if (!(error instanceof SkerryError)) throw error;
          this.note(`refused: ${what}: ${error.code}`);
        },
      );
  }

  private anyShard(): ReturnType<SimCluster['shards']>[number] | null {
    const shards = this.cluster.shards();
    return shards.length === 0 ? null : this.anyOf(shards);
  }

  private anyOf<T>(list: readonly T[]): T {
    const found = list[this.prng.int(0, list.length - 1)];
    if (found === undefined) throw new Error('nothing to choose from');
    return found;
  }

  /** At a later time, unless the faults are over by then: their end repairs everything. */
  private later(delayMs: number, fn: () => void): void {
    this.cluster.clock.addTimer(delayMs, () => {
      if (!this.over) fn();
    });
  }

  private note(event: string): void {
    this.cluster.around.note(event);
  }
}
