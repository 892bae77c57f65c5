import t from 'tap';
import { must } from '../../src/base/assert.js';
import { CheckContext } from '../../placement/checkers/check_context.js';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import { plainRules } from '../../placement/rules/placement_rules.js';
import { planPolicy } from '../../placement/rules/policy_plan.js';
import { Cursors } from '../../placement/schedulers/cursors.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import type { WhyContext } from '../../placement/why.js';
import { whyShard, whyStore } from '../../placement/why.js';
import type { ViewSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

const three = { 1: 'v', 2: 'v', 3: 'v' };

function contextOf(spec: ViewSpec, changed: Partial<WhyContext> = {}): WhyContext & { held: (by: string) => string } {
  const { view, operators, loads } = fixedView(spec);
  const context: WhyContext = {
    checks: new CheckContext(view, loads(), operators, shardSizesDefault),
    scheduling: { view, operators, limits: moveLimitsDefault, loads: loads(), cursors: new Cursors() },
    balance: null,
    blockedOn: () => undefined,
    ...changed,
  };
  const shard = must(view.state.shard(1), 'a shard');
  const held = (by: string): string => whyShard(context, shard).find((d) => d.by === by)?.hindrance?.kind ?? 'nothing';
  return { ...context, held };
}

t.test('why a shard stays: each part of placement names what holds it back', async (t) => {
  const even = { stores: [{}, {}, {}], shards: [{ replicas: three }] };
  t.equal(contextOf(even).held('replicas'), 'nothing');
  t.equal(contextOf(even).held('balance-replicas'), 'noCandidate', 'every store holds a replica');
  t.equal(contextOf(even).held('balance-leaders'), 'tolerance');
  t.equal(contextOf(even, { balance: { kind: 'windowClosed' } }).held('balance-replicas'), 'windowClosed');
  const spare = { stores: [{}, {}, {}, {}], shards: [{ replicas: three }] };
  t.equal(contextOf(spare).held('balance-replicas'), 'tolerance');
  const lone = { stores: [{}, {}], shards: [{ replicas: { 1: 'v', 2: 'v' } }] };
  t.equal(contextOf(lone).held('replicas'), 'noCandidate');
  const lagging = { stores: [{}, {}, {}, {}], shards: [{ replicas: { 1: 'v', 2: 'v', 3: 'v!' } }] };
  t.equal(contextOf(lagging).held('balance-replicas'), 'unhealthy');
  const leaderless = { stores: [{}, {}, {}], shards: [{ replicas: three, leader: 0 }] };
  t.equal(contextOf(leaderless).held('leader'), 'noLeader');
});

t.test('why a limit holds a repair back: its name and its value', async (t) => {
  const context = contextOf({ stores: [{}, {}, {}], shards: [{ replicas: { 1: 'v', 2: 'v' } }] });
  const load = must(context.scheduling.loads.get(3), 'store 3');
  load.incoming = moveLimitsDefault.repairsPerStore;
  t.equal(context.held('replicas'), 'limit');
});

t.test('why a store keeps what it has: the drain, and the shards that wait', async (t) => {
  const spec: ViewSpec = { stores: [{ state: 'draining' }, {}, {}], shards: [{ replicas: three, leader: 1 }] };
  const hindrance = { kind: 'noCandidate', rejected: [] } as const;
  const context = contextOf(spec, { blockedOn: () => ({ wants: { reason: 'store 1 is being drained' }, hindrance }) });
  const store = must(context.checks.view.state.store(1), 'the store');
  const found = whyStore(context, store).map((d) => `${d.by}: ${d.wants}: ${d.hindrance?.kind ?? 'nothing'}`);
  t.same(found, [
    'evict-leaders: 1 leaders to go; store 1 is being drained: nothing',
    'replicas: 1 replicas to go: noCandidate',
    'checkers: 1 shards wait, shard 1 first: store 1 is being drained: noCandidate',
  ]);
});

t.test('a dry run counts what a policy sets in motion, and changes nothing', async (t) => {
  const { checks } = contextOf({ stores: [{}, {}, {}, {}, {}], shards: [{ replicas: three }, { replicas: three }] });
  const changes = planPolicy(checks, 1, plainRules(5));
  t.same(changes, ['2 shards: add-replica', 'store 4 gets 1 replicas', 'store 5 gets 1 replicas']);
  const shard = must(checks.view.state.shard(1), 'a shard');
  t.equal(checks.view.rulesOf(shard).voters, 3, 'the rules are as before');
});
