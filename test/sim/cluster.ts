import { inspect } from 'node:util';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { AdminClient, SkerryError } from '../../src/client/index.js';
import type { Replica, Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { epochIsNewer } from '../../placement/state/records.js';
import { epochOf } from '../../store/descriptor.js';
import type { PlacementMember } from '../../placement/placement_member.js';
import type { Store } from '../../store/store.js';
import type { VirtualClock } from '../support/virtual_runtime.js';
import { VirtualRuntime } from '../support/virtual_runtime.js';
import type { Surroundings } from './machine.js';
import { SimNet } from './net.js';
import { PlacementMachine } from './placement_machine.js';
import type { Plan } from './plan.js';
import { StoreMachine } from './store_machine.js';
import { keyspaceName } from './workload.js';

/** All machines of a cluster, and what can be said of it as a whole. */
export class SimCluster {
  readonly clock: VirtualClock;
  readonly net: SimNet;
  readonly around: Surroundings;
  readonly stores: readonly StoreMachine[];
  readonly placements: readonly PlacementMachine[];
  private readonly adminRuntime: VirtualRuntime;

  constructor(clock: VirtualClock, plan: Plan, seed: number, hooks: Pick<Surroundings, 'note' | 'unexpected'>) {
    const prng = new Prng(seed);
    this.clock = clock;
    this.net = new SimNet(clock, prng.nextU32());
    const named = (kind: string, count: number): string[] =>
      Array.from({ length: count }, (_, i) => `${kind}-${i + 1}:1`);
    this.around = {
      clock,
      net: this.net,
      placementAddresses: named('placement', plan.placements),
      clockDrift: plan.clockDrift,
      syncMs: plan.syncMs,
      ...hooks,
    };
    this.placements = this.around.placementAddresses.map((n) => new PlacementMachine(n, this.around, prng.nextU32()));
    this.stores = named('store', plan.stores).map((n) => new StoreMachine(n, this.around, prng.nextU32()));
    this.adminRuntime = new VirtualRuntime(clock, prng.nextU32());
  }

  get machines(): (StoreMachine | PlacementMachine)[] {
    return [...this.placements, ...this.stores];
  }

  /** Starts everything and makes the keyspace. */
  async begin(shards: number): Promise<void> {
    for (const machine of this.machines) machine.boot();
    await this.clock.until(() => this.machines.every((m) => m.state === 'running'), 'the cluster starts');
    const admin = await this.clock.resolve(this.admin());
    for (;;) {
      try {
        await this.clock.resolve(admin.createKeyspace(keyspaceName, { shards, replicas: 3, wait: true }));
        return;
      } catch (error) {
        // Until enough stores have reported.
        if (!(error instanceof SkerryError) || !error.retryable) throw error;
        await this.clock.advance(100);
      }
    }
  }

  admin(): Promise<AdminClient> {
    const dial = this.net.rpc.dial('admin', this.adminRuntime);
    return AdminClient.connect({ placement: this.around.placementAddresses, runtime: this.adminRuntime, dial });
  }

  /** The member that leads and knows it; null: none does. */
  placementLeader(): PlacementMember | null {
    const leaders = this.placements.flatMap((m) => (m.member !== null && m.member.leading !== null ? [m.member] : []));
    return leaders.sort((a, b) => b.term - a.term)[0] ?? null;
  }

  /** The keyspace's shards as the most recent placement member knows them. */
  shards(): Shard[] {
    const members = this.placements.flatMap((m) => (m.member === null ? [] : [m.member]));
    const best = members.sort((a, b) => b.appliedIndex - a.appliedIndex)[0];
    if (best === undefined) return [];
    const keyspace = best.state.keyspaceByName(keyspaceName);
    if (keyspace === undefined) return [];
    return [...best.state.shardsIn(keyspace.keyspaceId, Buffer.alloc(0), Buffer.alloc(0))];
  }

  running(): { readonly machine: StoreMachine; readonly store: Store }[] {
    return this.stores.flatMap((machine) => (machine.store === null ? [] : [{ machine, store: machine.store }]));
  }

  /** Why the cluster is not in order; null: every shard has its voters, all sound and caught up, and nothing else. */
  disorder(): string | null {
    const leader = this.placementLeader();
    if (leader === null) return 'placement has no leader';
    for (const machine of this.stores) if (machine.store === null) return `${machine.name} is down`;
    const held = new Map<string, number>();
    for (const { store, machine } of this.running()) {
      if (store.replicas.quarantinedCount > 0) return `${machine.name} holds quarantined replicas`;
      for (const { shardId } of store.replicas.machines()) held.set(`${machine.storeId}/${shardId}`, 1);
    }
    for (const shard of this.shards()) {
      const problem = this.shardDisorder(shard);
      if (problem !== null) return `shard ${shard.shardId}: ${problem}`;
      for (const { storeId } of shard.replicas) held.delete(`${storeId}/${shard.shardId}`);
    }
    const [left] = held.keys();
    return left === undefined ? null : `a replica is left behind: store/shard ${left}`;
  }

  /** What every store and placement know of the shards that are not in order, for people. */
  describe(): string {
    const lines: string[] = [];
    for (const shard of this.shards()) {
      const problem = this.shardDisorder(shard);
      if (problem === null) continue;
      lines.push(`shard ${shard.shardId}: ${problem}; placement: ${describeShard(shard)}`);
      for (const { machine, store } of this.running()) {
        const held = store.replicas.machine(shard.shardId);
        const status = store.multi.group(shard.shardId)?.status();
        if (held === undefined) continue;
        lines.push(`  ${machine.name} (store ${machine.storeId}) ${held.phase}: ${describeShard(held.shard)}`);
        if (status === undefined) continue;
        const { role, term, leaderId, commit, applied, firstIndex, lastIndex, progress } = status;
        lines.push(
          `    ${role} term ${term} leader ${leaderId} commit ${commit} applied ${applied} log ${firstIndex}..${lastIndex}`,
        );
        for (const p of progress) lines.push(`    ${JSON.stringify(p)}`);
      }
    }
    const known = new Set(this.shards().map(({ shardId }) => shardId));
    for (const { machine, store } of this.running()) {
      for (const { shardId, phase, shard } of store.replicas.machines()) {
        if (known.has(shardId)) continue;
        const into = shard.merge?.into;
        const waits = into === undefined ? '' : `, waits for ${into.shardId} at ${into.epoch?.version ?? 0}`;
        lines.push(`${machine.name} holds unknown shard ${shardId}, ${phase}: ${describeShard(shard)}${waits}`);
      }
    }
    for (const a of this.stores) {
      const to = this.stores.map((b) => `${b.storeId}: ${this.net.storeRaft.connectionCount(a.storeId, b.storeId)}`);
      const session = a.store?.session.connected === true ? 'open' : 'closed';
      lines.push(`store ${a.storeId}: connections to ${to.join(', ')}; session ${session}`);
    }
    const work = this.placementLeader()?.leading;
    if (work !== undefined && work !== null) {
      for (const operator of work.planner.table.running()) lines.push(`operator ${inspect(operator, { depth: 4 })}`);
    }
    return lines.join('\n');
  }

  private shardDisorder(shard: Shard): string | null {
    if (shard.merge?.into !== undefined) return 'a merge is under way';
    // Moving a replica by hand that had been left behind as a learner makes it a wanted one.
    const wanted = this.placementLeader()?.state.target(shard.shardId)?.learnerStoreIds ?? [];
    const isWanted = (r: Replica): boolean => r.role === ReplicaRole.LEARNER && wanted.includes(r.storeId);
    if (shard.replicas.some((r) => r.role !== ReplicaRole.VOTER && !isWanted(r))) return 'a change is under way';
    const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
    if (voters.length !== 3) return `${voters.length} voters`;
    const statuses = shard.replicas.map(({ storeId, replicaId }) => {
      const machine = this.stores.find((m) => m.storeId === storeId);
      const status = machine?.store?.multi.group(shard.shardId)?.status();
      return status?.replicaId === replicaId ? status : null;
    });
    if (statuses.some((s) => s === null)) return 'a replica does not run';
    const found = statuses.map((s) => must(s, 'a status'));
    if (!found.some((s) => s.role === 'leader')) return 'no leader';
    const commit = Math.max(...found.map((s) => s.commit));
    if (found.some((s) => s.applied < commit)) return 'a replica is behind';
    return null;
  }

  /** Whether one more disk may be harmed without taking a majority of any shard: all that was harmed before is healed. */
  mayLoseOne(): boolean {
    for (const { excuses, store } of this.stores) {
      if (!excuses.has('damage')) continue;
      if (store === null || store.replicas.quarantinedCount > 0) return false;
      excuses.delete('damage');
    }
    const shards = this.newestDescriptors();
    if (shards.size === 0 || this.shards().some(({ shardId }) => !shards.has(shardId))) return false;
    return [...shards.values()].every((shard) => this.isWhole(shard));
  }

  /** Each shard as the store with its latest epoch knows it. */
  private newestDescriptors(): Map<number, Shard> {
    const newest = new Map<number, Shard>();
    for (const { store } of this.running()) {
      for (const { shard, shardId, phase } of store.replicas.machines()) {
        if (phase !== 'normal') continue;
        const known = newest.get(shardId)?.epoch;
        if (known === undefined || epochIsNewer(epochOf(shard), known)) newest.set(shardId, shard);
      }
    }
    return newest;
  }

  private isWhole(shard: Shard): boolean {
    if (shard.replicas.length < 3 || shard.replicas.some((r) => r.role !== ReplicaRole.VOTER)) return false;
    return shard.replicas.every(({ storeId, replicaId }) => {
      const machine = this.stores.find((m) => m.storeId === storeId);
      const running = machine?.store?.replicas.machine(shard.shardId);
      return running?.replicaId === replicaId && running.phase === 'normal';
    });
  }
}

function describeShard({ epoch, replicas }: Shard): string {
  const held = replicas.map((r) => `${r.replicaId}@${r.storeId}:${r.role}`).join(' ');
  return `epoch ${epoch?.version ?? 0}/${epoch?.confVer ?? 0} [${held}]`;
}
