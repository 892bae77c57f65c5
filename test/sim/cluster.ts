import { inspect } from 'node:util';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { AdminClient, SkerryError } from '../../src/client/index.js';
import type { Replica, Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
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
  /** Those that were removed included. */
  readonly placements: PlacementMachine[];
  private readonly placementPrng: Prng;
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
      placementToAsk: () => this.placementToAsk(),
      clockDrift: plan.clockDrift,
      syncMs: plan.syncMs,
      ...hooks,
    };
    this.placements = this.around.placementAddresses.map((n) => new PlacementMachine(n, this.around, prng.nextU32()));
    this.stores = named('store', plan.stores).map((n) => new StoreMachine(n, this.around, prng.nextU32()));
    this.adminRuntime = new VirtualRuntime(clock, prng.nextU32());
    this.placementPrng = new Prng(prng.nextU32());
  }

  /** All that anything can happen to: a placement member that was removed is none of them. */
  get machines(): (StoreMachine | PlacementMachine)[] {
    return [...this.placementMachines(), ...this.stores];
  }

  /** Of members that are in the group, or on their way into it or out of it. */
  placementMachines(): PlacementMachine[] {
    return this.placements.filter((machine) => !machine.wasRemoved);
  }

  /** A machine for one more placement member; it is not started. */
  newPlacement(): PlacementMachine {
    const name = `placement-${this.placements.length + 1}:1`;
    const machine = new PlacementMachine(name, this.around, this.placementPrng.nextU32());
    machine.joinAddresses = () => this.placementToAsk().filter((address) => address !== name);
    this.placements.push(machine);
    return machine;
  }

  /** What people write into the configuration of a process that they start now. */
  private placementToAsk(): string[] {
    return this.placementMachines().map((machine) => machine.name);
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
    return AdminClient.connect({ placement: this.placementToAsk(), runtime: this.adminRuntime, dial });
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
    const problem = this.placementDisorder(leader);
    if (problem !== null) return problem;
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
    // What somebody asked for before the faults ended may be held up until now.
    const running = leader.leading?.planner.table.running() ?? [];
    const asked = [...running].find(({ plan }) => plan.source === 'admin');
    if (asked !== undefined) return `operator ${asked.operatorId} runs: ${asked.plan.kind}`;
    const [left] = held.keys();
    return left === undefined ? null : `a replica is left behind: store/shard ${left}`;
  }

  /** Every machine has a member that votes and has caught up, and nobody else does. */
  private placementDisorder(leader: PlacementMember): string | null {
    const { commit, confState } = leader.groupStatus();
    const { voters, learners, votersOutgoing } = confState;
    if (leader.memberChange !== null || learners.length + votersOutgoing.length > 0) return 'placement members change';
    const machines = this.placementMachines();
    if (machines.length !== voters.length) return `${voters.length} of ${machines.length} placement members vote`;
    for (const { name, member, memberId } of machines) {
      if (member === null) return `${name} is down`;
      if (!voters.includes(memberId)) return `${name} does not vote`;
      if (member.appliedIndex < commit) return `${name} is behind`;
    }
    return null;
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
    for (const { name, memberId, state, wasRemoved, member } of this.placements) {
      const status = member?.groupStatus();
      const voters = status?.confState.voters.join(' ') ?? '';
      const about = `${status?.role ?? ''} term ${status?.term ?? 0} voters ${voters}`;
      lines.push(`${name} (member ${memberId}) ${state}${wasRemoved ? ', removed' : ''}: ${about}`);
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
}

function describeShard({ epoch, replicas }: Shard): string {
  const held = replicas.map((r) => `${r.replicaId}@${r.storeId}:${r.role}`).join(' ');
  return `epoch ${epoch?.version ?? 0}/${epoch?.confVer ?? 0} [${held}]`;
}
