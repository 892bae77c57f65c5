import t from 'tap';
import { must } from '../../src/base/assert.js';
import { CheckContext } from '../../placement/checkers/check_context.js';
import { mergeChecker } from '../../placement/checkers/merge_checker.js';
import { checkLimitReached, moveLimitsDefault } from '../../placement/move_limits.js';
import type { Operator, OperatorPlan } from '../../placement/operators/operator.js';
import { transition } from '../../placement/operators/operator.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import type { FixedView } from './support/fixed_view.js';
import { fixedView, nowMs } from './support/fixed_view.js';

const mebibyte = 1024 * 1024;

function smallShards(count: number, initialShards: number): FixedView {
  const shards = Array.from({ length: count }, () => ({ replicas: { 1: 'v', 2: 'v', 3: 'v' }, bytes: mebibyte }));
  return fixedView({ stores: [{}, {}, {}], shards, initialShards });
}

function finding({ view, operators, shards, loads }: FixedView, shardId: number) {
  const shard = must(
    shards.find((s) => s.shardId === shardId),
    'a shard',
  );
  return mergeChecker.check(new CheckContext(view, loads(), operators, shardSizesDefault), shard);
}

function planned(fixed: FixedView, shardId: number): OperatorPlan {
  const result = finding(fixed, shardId);
  if (result.kind !== 'plan') throw new Error(`${result.kind}, not a plan`);
  return result.plan;
}

function start(fixed: FixedView, plan: OperatorPlan, operatorId: number): Operator {
  const operator: Operator = {
    operatorId,
    plan,
    steps: plan.steps,
    createdAtMs: nowMs,
    hold: null,
    state: 'created',
    currentStep: 0,
    stepStartedAtMs: nowMs,
    sentAtMs: -Infinity,
    sentToStoreId: 0,
    commandId: 0,
    mergeSent: false,
    takingBack: null,
    finishedAtMs: 0,
    reason: plan.reason,
  };
  fixed.operators.add(operator);
  return operator;
}

t.test('merges under way count: together they do not go below the shards that a keyspace began with', async (t) => {
  const fixed = smallShards(6, 4);
  start(fixed, planned(fixed, 1), 1);
  start(fixed, planned(fixed, 3), 2);
  t.equal(finding(fixed, 5).kind, 'sound', 'the fifth and the sixth shard are the third and fourth from now on');
});

t.test('what was merged rests, and so does its neighbour; what failed rests for less', async (t) => {
  const fixed = smallShards(6, 1);
  const merged = start(fixed, planned(fixed, 1), 1);
  transition(merged, 'success', '', nowMs);
  fixed.operators.finish(merged, nowMs);
  const failed = start(fixed, planned(fixed, 5), 2);
  transition(failed, 'timeout', '', nowMs);
  fixed.operators.finish(failed, nowMs);
  const restOf = (shardId: number): number => {
    const result = finding(fixed, shardId);
    return result.kind === 'resting' && result.hindrance.kind === 'resting' ? result.hindrance.untilMs - nowMs : 0;
  };
  t.equal(restOf(2), shardSizesDefault.restMs);
  t.equal(restOf(5), 5 * 60_000);
  t.match(finding(fixed, 3), { kind: 'plan', plan: { steps: [{ targetShardId: 4 }] } }, 'others do not');
});

t.test('no more merges run at once than the limit says, and a person is not held back by it', async (t) => {
  const fixed = smallShards(8, 1);
  start(fixed, planned(fixed, 1), 1);
  start(fixed, planned(fixed, 3), 2);
  const plan = planned(fixed, 5);
  const reached = (mergesInCluster: number, source: OperatorPlan['source']) =>
    checkLimitReached({ ...plan, source }, fixed.loads(), { ...moveLimitsDefault, mergesInCluster }, fixed.operators);
  t.equal(reached(3, 'checker'), null);
  t.same(reached(2, 'checker'), { kind: 'limit', limit: 'mergesInCluster', storeId: 0, max: 2 });
  t.equal(reached(2, 'admin'), null);
});
