import t from 'tap';
import { candidatesPerRoundMax, operatorsPerRoundMax } from '../../placement/limits.js';
import { limitReached, moveLimitsDefault } from '../../placement/move_limits.js';
import type { OperatorPlan } from '../../placement/operators/operator.js';
import { balanceLeaders } from '../../placement/schedulers/balance_leaders.js';
import { balanceReplicas } from '../../placement/schedulers/balance_replicas.js';
import { Cursors } from '../../placement/schedulers/cursors.js';
import type { Scheduler } from '../../placement/schedulers/scheduler.js';
import { evenEnough, planRound } from '../../placement/schedulers/scheduler.js';
import type { ShardSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

t.test('limits bound what is in flight per store and in the cluster', async (t) => {
  const shard: ShardSpec = { replicas: { 1: 'v', 2: 'v', 3: 'v' }, leader: 1 };
  const fixed = fixedView({ stores: [{}, {}, {}, {}], shards: Array.from({ length: 60 }, () => shard) });
  const { view, operators } = fixed;
  const planned = (scheduler: Scheduler, limits: Partial<typeof moveLimitsDefault>): number => {
    const context = { view, operators, limits: { ...moveLimitsDefault, ...limits }, cursors: new Cursors() };
    return scheduler.schedule({ ...context, loads: fixed.loads() }).plans.length;
  };
  t.equal(planned(balanceReplicas, { movesPerStore: 2 }), 2, 'one store receives two at once');
  t.equal(planned(balanceReplicas, { movesPerStore: 50, movesInCluster: 5 }), 5);
  t.equal(planned(balanceLeaders, { transfersPerStore: 3 }), 3, 'one store gives three away at once');
  t.equal(planned(balanceLeaders, { transfersPerStore: 50, transfersInCluster: 7 }), 7);
});

t.test(
  'replicas that are only removed count, too: thousands do not go at once when a policy asks for fewer',
  async (t) => {
    const fixed = fixedView({ stores: [{}, {}], shards: [{ replicas: { 1: 'v', 2: 'v' }, leader: 1 }] });
    const loads = fixed.loads();
    const steps = [{ kind: 'removePeer', storeId: 2, replicaId: 12 }] as const;
    const plan: OperatorPlan = { shardId: 1, kind: 'remove-extra-replica', source: 'checker', steps, reason: '' };
    const outgoing = (count: number): void => {
      for (const load of loads.values()) if (load.store.storeId === 2) load.outgoing = count;
    };
    const max = moveLimitsDefault.repairsPerStore;
    outgoing(max - 1);
    t.equal(limitReached(plan, loads, moveLimitsDefault), null);
    outgoing(max);
    t.same(limitReached(plan, loads, moveLimitsDefault), { kind: 'limit', limit: 'repairsPerStore', storeId: 2, max });
    t.equal(limitReached({ ...plan, source: 'admin' }, loads, moveLimitsDefault), null, 'people are not held back');
  },
);

t.test('a round of a scheduler that always wants more ends, and each plan knows the shards before it', async (t) => {
  const fixed = fixedView({ stores: [{}, {}], shards: [{ replicas: { 1: 'v', 2: 'v' }, leader: 1 }] });
  const { view, operators } = fixed;
  const context = { view, operators, limits: moveLimitsDefault, cursors: new Cursors(), loads: fixed.loads() };
  const seen: number[] = [];
  const round = planRound(context, (taken) => {
    seen.push(taken.size);
    return { plan: { shardId: 1 + taken.size, kind: 'x', source: 'scheduler', steps: [], reason: '' } };
  });
  t.equal(round.plans.length, operatorsPerRoundMax);
  t.same(seen, [...round.plans.keys()]);
});

t.test('shares are even within one shard, or one in a hundred', async (t) => {
  t.same([0, 10, 150, 1_000].map(evenEnough), [1, 1, 1, 10]);
});

t.test('a round goes on where the last one stopped, and looks at each shard once', async (t) => {
  const cursors = new Cursors();
  const set = new Set([1, 2, 3]);
  const first = cursors.through('x', set);
  t.equal(first.next().value, 1);
  t.same([...cursors.through('x', set)], [2, 3, 1]);
  set.delete(2);
  t.same([...cursors.through('x', set)], [3, 1], 'what was removed is not looked at');
});

t.test('a round looks at no more shards than it may, and the next one at the rest', async (t) => {
  const cursors = new Cursors();
  const set = new Set(Array.from({ length: candidatesPerRoundMax + 10 }, (_, i) => i));
  t.equal([...cursors.through('x', set)].length, candidatesPerRoundMax);
  t.equal(cursors.isSpent, true);
  t.same([...cursors.through('x', set)], []);
  cursors.refill();
  t.equal(cursors.through('x', set).next().value, candidatesPerRoundMax);
});
