import t from 'tap';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import { describeStep } from '../../placement/operators/step.js';
import { balanceLeaders } from '../../placement/schedulers/balance_leaders.js';
import { balanceReplicas } from '../../placement/schedulers/balance_replicas.js';
import { evictLeaders } from '../../placement/schedulers/evict_leaders.js';
import type { Scheduler } from '../../placement/schedulers/scheduler.js';
import { evenEnough } from '../../placement/schedulers/scheduler.js';
import type { ReplicaSpec, ShardSpec, StoreSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

interface Case {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly stores: readonly StoreSpec[];
  readonly shards: readonly ShardSpec[];
  /** `shard: step; step` of each plan, in order. */
  readonly plans: readonly string[];
}

const up: StoreSpec = {};
const three: ReplicaSpec = { 1: 'v', 2: 'v', 3: 'v' };
const zone = (z: string): StoreSpec => ({ labels: { zone: z } });

function times(count: number, shard: ShardSpec): ShardSpec[] {
  return Array.from({ length: count }, () => shard);
}

const cases: readonly Case[] = [
  {
    name: 'replicas: an empty store gets followers before leaders, from the fullest stores in turn',
    scheduler: balanceReplicas,
    stores: [up, up, up, up],
    shards: times(3, { replicas: three, leader: 1 }),
    plans: [
      '1: add learner on store 4; enter joint: promote store 4, remove store 2; leave joint',
      '2: add learner on store 4; enter joint: promote store 4, remove store 3; leave joint',
    ],
  },
  {
    name: 'replicas: a difference of one is even',
    scheduler: balanceReplicas,
    stores: [up, up, up, up],
    shards: times(1, { replicas: three }),
    plans: [],
  },
  {
    name: 'replicas: a leader moves when nothing else can, and hands over first',
    scheduler: balanceReplicas,
    stores: [up, up],
    shards: times(2, { replicas: { 1: 'v' } }),
    plans: ['1: add learner on store 2; enter joint: promote store 2, remove store 1; leave joint'],
  },
  {
    name: 'replicas: a shard with a learner, or one that lags, is left alone',
    scheduler: balanceReplicas,
    stores: [up, up, up, up],
    shards: [
      { replicas: { 1: 'v', 2: 'v', 3: 'v!' } },
      { replicas: { 1: 'v', 2: 'v', 3: 'l' }, target: { voters: 2, learners: [3] } },
      { replicas: { 1: 'v', 2: 'o', 3: 'i' } },
    ],
    plans: [],
  },
  {
    name: 'replicas: a draining, silent or full store gets nothing',
    scheduler: balanceReplicas,
    stores: [up, up, up, { state: 'draining' }, { state: 'silent' }, { diskFull: true }],
    shards: times(4, { replicas: three }),
    plans: [],
  },
  {
    name: 'replicas: a zone is not given up for balance',
    scheduler: balanceReplicas,
    stores: [zone('x'), zone('y'), zone('z'), zone('z')],
    shards: times(3, { replicas: three, leader: 1 }),
    plans: ['1: add learner on store 4; enter joint: promote store 4, remove store 3; leave joint'],
  },
  {
    name: 'replicas: a store of half the size is even with half the replicas',
    scheduler: balanceReplicas,
    stores: [{ capacity: 2_000 }, { capacity: 1_000 }],
    shards: [...times(4, { replicas: { 1: 'v' } }), ...times(2, { replicas: { 2: 'v' } })],
    plans: [],
  },
  {
    name: 'leaders: the store with most hands over to the one with least until they are even',
    scheduler: balanceLeaders,
    stores: [up, up, up],
    shards: times(4, { replicas: three, leader: 1 }),
    plans: ['1: transfer leader to store 2', '2: transfer leader to store 3'],
  },
  {
    name: 'leaders: a voter that lags, a learner or a store that cannot be reached is no heir',
    scheduler: balanceLeaders,
    stores: [up, up, { state: 'silent' }, up],
    shards: times(4, { replicas: { 1: 'v', 2: 'v!', 3: 'v', 4: 'l' }, leader: 1 }),
    plans: [],
  },
  {
    name: 'leaders: a draining store is not balanced',
    scheduler: balanceLeaders,
    stores: [{ state: 'draining' }, up],
    shards: times(4, { replicas: { 1: 'v', 2: 'v' }, leader: 1 }),
    plans: [],
  },
  {
    name: 'eviction: every leader of a draining store goes, to the smallest shares',
    scheduler: evictLeaders,
    stores: [{ state: 'draining' }, up, up],
    shards: times(3, { replicas: three, leader: 1 }),
    plans: ['1: transfer leader to store 2', '2: transfer leader to store 3', '3: transfer leader to store 2'],
  },
  {
    name: 'eviction: without a sound voter a leader stays',
    scheduler: evictLeaders,
    stores: [{ state: 'draining' }, up],
    shards: [{ replicas: { 1: 'v', 2: 'v!' }, leader: 1 }, { replicas: { 1: 'v' } }],
    plans: [],
  },
];

for (const { name, scheduler, stores, shards, plans } of cases) {
  t.test(name, async (t) => {
    const fixed = fixedView({ stores, shards });
    const { view, operators } = fixed;
    const made = scheduler.schedule({ view, operators, limits: moveLimitsDefault, loads: fixed.loads() });
    t.same(
      made.map((plan) => `${plan.shardId}: ${plan.steps.map(describeStep).join('; ')}`),
      plans,
    );
  });
}

t.test('limits bound what is in flight per store and in the cluster', async (t) => {
  const shards = times(60, { replicas: three, leader: 1 });
  const fixed = fixedView({ stores: [up, up, up, up], shards });
  const { view, operators } = fixed;
  const moves = (limits: Partial<typeof moveLimitsDefault>): number =>
    balanceReplicas.schedule({ view, operators, limits: { ...moveLimitsDefault, ...limits }, loads: fixed.loads() })
      .length;
  t.equal(moves({ movesPerStore: 2 }), 2, 'one store receives two at once');
  t.equal(moves({ movesPerStore: 50, movesInCluster: 5 }), 5);
  const transfers = (limits: Partial<typeof moveLimitsDefault>): number =>
    balanceLeaders.schedule({ view, operators, limits: { ...moveLimitsDefault, ...limits }, loads: fixed.loads() })
      .length;
  t.equal(transfers({ transfersPerStore: 3 }), 3, 'one store gives three away at once');
  t.equal(transfers({ transfersPerStore: 50, transfersInCluster: 7 }), 7);
});

t.test('shares are even within one shard, or one in a hundred', async (t) => {
  t.same([0, 10, 150, 1_000].map(evenEnough), [1, 1, 1, 10]);
});
