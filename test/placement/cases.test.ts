import t from 'tap';
import { must } from '../../src/base/assert.js';
import { CheckContext } from '../../placement/checkers/check_context.js';
import type { CheckResult } from '../../placement/checkers/check_result.js';
import { checkShard } from '../../placement/checkers/check_shard.js';
import { describeHindrance } from '../../placement/hindrance.js';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import { describeStep } from '../../placement/operators/step.js';
import { balanceLeaders } from '../../placement/schedulers/balance_leaders.js';
import { balanceReplicas } from '../../placement/schedulers/balance_replicas.js';
import { Cursors } from '../../placement/schedulers/cursors.js';
import { evictLeaders } from '../../placement/schedulers/evict_leaders.js';
import { hotShards } from '../../placement/schedulers/hot_shards.js';
import { scatterKeyspaces } from '../../placement/schedulers/scatter_keyspaces.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import { fixedView, nowMs } from './support/fixed_view.js';
import type { PlacementCase } from './support/placement_cases.js';
import { readCaseFiles } from './support/placement_cases.js';

const schedulers = [balanceLeaders, balanceReplicas, evictLeaders, hotShards, scatterKeyspaces];

function described(result: CheckResult): string {
  if (result.kind === 'sound') return 'sound';
  if (result.kind === 'plan') return `${result.plan.kind}: ${result.plan.steps.map(describeStep).join('; ')}`;
  return `${result.kind}: ${result.wants.reason}; ${describeHindrance(result.hindrance, nowMs)}`;
}

function checked({ view: spec }: PlacementCase): string {
  const { view, operators, shards, loads } = fixedView(spec);
  const context = new CheckContext(view, loads(), operators, shardSizesDefault);
  return described(checkShard(context, must(shards[0], 'a shard')));
}

for (const { file, of, cases } of readCaseFiles()) {
  t.test(file, async (t) => {
    for (const given of cases) {
      if (of === 'checkers') {
        t.equal(checked(given), given.finds, given.name);
        continue;
      }
      const scheduler = must(
        schedulers.find((s) => s.name === of),
        `a scheduler named ${of}`,
      );
      const { view, operators, loads } = fixedView(given.view);
      const limits = { ...moveLimitsDefault, ...given.limits };
      const round = scheduler.schedule({ view, operators, limits, loads: loads(), cursors: new Cursors() });
      const plans = round.plans.map((plan) => `${plan.shardId}: ${plan.steps.map(describeStep).join('; ')}`);
      t.same(plans, given.plans, given.name);
      if (given.held === undefined) continue;
      t.equal(round.hindrance === null ? 'nothing' : describeHindrance(round.hindrance, nowMs), given.held, given.name);
    }
  });
}
