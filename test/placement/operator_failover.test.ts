import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { AdminClient } from '../../src/client/index.js';
import { SkerryError } from '../../src/client/index.js';
import type { Operator } from '../../src/gen/skerry/v1/admin.js';
import { OperatorState } from '../../src/gen/skerry/v1/admin.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { SimCluster } from '../sim/cluster.js';
import type { PlacementMachine } from '../sim/placement_machine.js';
import { planOf } from '../sim/plan.js';
import type { StoreMachine } from '../sim/store_machine.js';
import { VirtualClock } from '../support/virtual_runtime.js';

/**
 * Real stores and three real placement members on a virtual clock: the leader of placement dies while an operator is half done. The
 * operator is held up by cutting the store that gets a replica off from the others; placement hears it all the time.
 */
class Stage {
  readonly clock: VirtualClock;
  readonly cluster: SimCluster;
  readonly admin: AdminClient;

  private constructor(clock: VirtualClock, cluster: SimCluster, admin: AdminClient) {
    this.clock = clock;
    this.cluster = cluster;
    this.admin = admin;
  }

  static async begin(): Promise<Stage> {
    const clock = new VirtualClock();
    const unexpected = (error: Error): never => {
      throw error;
    };
    const plan = { ...planOf(3), stores: 4, placements: 3, clockDrift: 0, syncMs: 1 };
    const cluster = new SimCluster(clock, plan, 3, { note: () => undefined, unexpected });
    await cluster.begin(1);
    return new Stage(clock, cluster, await clock.resolve(cluster.admin()));
  }

  get shard(): Shard {
    return must(this.cluster.shards()[0], 'a shard');
  }

  holds(storeId: number): boolean {
    return this.shard.replicas.some((r) => r.storeId === storeId);
  }

  /** The store without a replica. */
  get target(): StoreMachine {
    return must(
      this.cluster.stores.find(({ storeId }) => !this.holds(storeId)),
      'a store without a replica',
    );
  }

  cutOff(store: StoreMachine): void {
    for (const other of this.cluster.stores) {
      if (other === store) continue;
      this.cluster.net.cut(store.name, other.name);
      this.cluster.net.cut(other.name, store.name);
    }
  }

  /** The member that leads dies, and stays away. */
  async failOver(): Promise<void> {
    const leader = must(this.cluster.placementLeader(), 'a leader');
    const machine = must(
      this.cluster.placements.find(({ member }) => member === leader),
      'its machine',
    );
    this.stayAway(machine);
    await this.clock.until(() => this.cluster.placementLeader() !== null, 'another member leads');
  }

  private stayAway(machine: PlacementMachine): void {
    // Its supervisor would start it again.
    machine.boot = () => undefined;
    machine.kill();
  }

  async operators(history = false): Promise<Operator[]> {
    return this.clock.resolve(this.admin.listOperators(history, this.shard.shardId));
  }

  /** Until the operator has ended, however; as the history shows it then. */
  async ended(operatorId: number): Promise<Operator> {
    for (let looks = 0; looks < 600; looks++) {
      const found = (await this.operators(true)).find((o) => o.operatorId === operatorId);
      if (found?.endedAgeMs !== undefined) return found;
      await this.clock.advance(100);
    }
    throw new Error(`operator ${operatorId} does not end`);
  }

  /** Until the learner of a change is there. */
  async untilHeldBy(storeId: number): Promise<void> {
    await this.clock.until(() => this.holds(storeId), `store ${storeId} has a replica`);
  }
}

t.test('a move goes on under the next placement leader, and copies nothing twice', async (t) => {
  const stage = await Stage.begin();
  const { target } = stage;
  const from = must(stage.shard.replicas[0], 'a replica').storeId;
  stage.cutOff(target);
  const begun = await stage.clock.resolve(
    stage.admin.moveReplica({
      shardId: stage.shard.shardId,
      fromStoreId: from,
      toStoreId: target.storeId,
      wait: false,
    }),
  );
  await stage.untilHeldBy(target.storeId);
  const learner = must(
    stage.shard.replicas.find((r) => r.storeId === target.storeId),
    'a learner',
  ).replicaId;
  await stage.failOver();
  const [running] = await stage.operators();
  t.match(running, { operatorId: begun.operatorId, kind: 'move-replica', source: 'admin', currentStep: 0 });
  t.ok((running?.ageMs ?? 0) > begun.ageMs, 'it is as old as it is, not as the leader');
  stage.cluster.net.healAll();
  const ended = await stage.ended(begun.operatorId);
  t.equal(ended.state, OperatorState.SUCCESS, ended.reason);
  t.notOk(stage.holds(from));
  const replicas = stage.shard.replicas.filter((r) => r.storeId === target.storeId);
  t.same(
    replicas.map((r) => r.replicaId),
    [learner],
    'the replica that the first leader added is the one that stays',
  );
  const others = (await stage.operators(true)).filter((o) => o.source === 'checker');
  t.same(others, [], 'no checker had to repair anything');
});

t.test('an operator of an earlier leader is canceled, and what it wanted is taken back', async (t) => {
  const stage = await Stage.begin();
  const { target } = stage;
  stage.cutOff(target);
  const begun = await stage.clock.resolve(
    stage.admin.addReplica({ shardId: stage.shard.shardId, storeId: target.storeId, learner: false, wait: false }),
  );
  await stage.untilHeldBy(target.storeId);
  await stage.failOver();
  const canceled = await stage.clock.resolve(stage.admin.cancelOperator(begun.operatorId));
  t.equal(canceled.state, OperatorState.CANCELED);
  stage.cluster.net.healAll();
  await stage.clock.until(() => !stage.holds(target.storeId), 'the learner is removed again');
  t.equal(stage.shard.replicas.length, 3);
  await t.rejects(stage.clock.resolve(stage.admin.cancelOperator(begun.operatorId)), { code: 'OPERATOR_NOT_FOUND' });
});

/** The first shard is split, and its second half waits for the first one to take it in again. */
async function halfMerged({ clock, cluster, admin, shard }: Stage): Promise<{ shardId: number; operatorId: number }> {
  const { shardId: targetShardId } = shard;
  await clock.resolve(admin.splitShard({ shardId: targetShardId, splitKey: Buffer.from([128, 0]), wait: true }));
  await clock.until(() => cluster.shards().length === 2, 'two shards');
  const { shardId } = must(cluster.shards()[1], 'the second half');
  const { operatorId } = await clock.resolve(admin.mergeShards({ shardId, targetShardId, wait: false }));
  const waits = (): boolean =>
    cluster.running().some(({ store }) => store.replicas.machine(shardId)?.isMerging === true);
  await clock.until(waits, 'the stores have begun');
  return { shardId, operatorId };
}

t.test('a merge that the stores have begun is taken back when somebody cancels it', async (t) => {
  const stage = await Stage.begin();
  const { clock, cluster, admin } = stage;
  const { shardId, operatorId } = await halfMerged(stage);
  const canceled = await clock.resolve(admin.cancelOperator(operatorId, true));
  t.match(canceled, { state: OperatorState.CANCELED, reason: 'canceled by request; taken back' });
  const shard = cluster.shards().find((s) => s.shardId === shardId);
  t.not(shard, undefined);
  t.equal(shard?.merge?.into, undefined);
  const history = await clock.resolve(admin.listOperators(true, shardId));
  t.match(
    history.find((o) => o.operatorId === operatorId),
    { state: OperatorState.CANCELED, reason: 'canceled by request; taken back' },
  );
  await t.rejects(clock.resolve(admin.cancelOperator(operatorId)), { code: 'OPERATOR_NOT_FOUND' });
});

t.test('one who waits is told that the next leader goes on', async (t) => {
  const stage = await Stage.begin();
  const { target } = stage;
  stage.cutOff(target);
  const waiting = stage.admin.addReplica({
    shardId: stage.shard.shardId,
    storeId: target.storeId,
    learner: false,
    wait: true,
  });
  const outcome = waiting.then(
    () => 'done',
    (error: unknown) => (error instanceof SkerryError ? error.code : 'another error'),
  );
  await stage.untilHeldBy(target.storeId);
  const [running] = await stage.operators();
  await stage.failOver();
  stage.cluster.net.healAll();
  t.equal(
    await stage.clock.resolve(outcome),
    'UNDETERMINED',
    'the member that was asked died: the client does not ask again',
  );
  const ended = await stage.ended(must(running, 'an operator').operatorId);
  t.equal(ended.state, OperatorState.SUCCESS, ended.reason);
});
