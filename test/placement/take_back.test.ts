import t from 'tap';
import { must } from '../../src/base/assert.js';
import { failedPrecondition } from '../../src/base/wire_errors.js';
import { CheckContext } from '../../placement/checkers/check_context.js';
import { mergeTimeoutMs, stepResendMs, stepTimeoutMsShort, takeBackTimeoutMs } from '../../placement/limits.js';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import type { Operator, OperatorPlan } from '../../placement/operators/operator.js';
import { outlivesLeader } from '../../placement/operators/operator_journal.js';
import { fromRecord, toRecord } from '../../placement/operators/operator_record.js';
import { Cursors } from '../../placement/schedulers/cursors.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import { whyShard } from '../../placement/why.js';
import type { Driven } from './support/driven_controller.js';
import { driveNeighbours } from './support/driven_controller.js';

const shardId = 1;
const clocks = { nowMs: 5_000, wallMs: 1_700_000_000_000 };
const plan: OperatorPlan = {
  shardId,
  kind: 'merge-shards',
  source: 'admin',
  steps: [{ kind: 'mergeShards', targetShardId: 2, version: 1 }],
  reason: 'asked for',
};

interface Merging extends Driven {
  readonly operator: Operator;
  /** As its leader reports the shard. */
  readonly report: (version: number, waits: boolean) => void;
  readonly pass: (ms: number) => void;
}

/** The merge was sent. */
function merging(): Merging {
  const world = driveNeighbours();
  const admission = world.controller.admit(plan);
  if (!admission.ok) throw new Error(admission.reason);
  const record = must(world.view.state.shard(shardId), 'a shard');
  const report = (version: number, waits: boolean): void => {
    const into = waits ? { shardId: 2, epoch: undefined, index: 7, term: 1 } : undefined;
    world.view.state.restoreShard({ ...record, epoch: { confVer: 1, version }, merge: { into, merged: [] } });
    world.controller.shardChanged(shardId);
  };
  const pass = (ms: number): void => {
    world.view.setTime(world.view.nowMs + ms);
    for (const id of [1, 2, 3, 4]) world.view.storeHeartbeat(id, must(world.view.report(id), 'a report'));
    world.controller.tick();
  };
  return { ...world, operator: admission.operator, report, pass };
}

t.test('a merge that the stores can not have begun is canceled at once', (t) => {
  const { controller, sentKinds } = driveNeighbours();
  const admission = controller.admit(plan, 'record');
  if (!admission.ok) throw new Error(admission.reason);
  t.same(controller.cancel(admission.operator.operatorId, 'enough'), { ok: true, operator: admission.operator });
  t.match(admission.operator, { state: 'canceled', reason: 'enough' });
  t.same(sentKinds, []);
  t.end();
});

t.test('a merge that may have begun is canceled once the shard serves again, and holds both shards until then', (t) => {
  const { controller, operators, operator, sentKinds, report, pass } = merging();
  t.same(sentKinds, ['mergeShard']);
  t.equal(controller.cancel(operator.operatorId, 'enough').ok, true);
  t.match(operator, { state: 'running', reason: 'being taken back: enough' });
  t.same(sentKinds, ['mergeShard', 'cancelMerge'], 'although nobody has heard of its beginning');
  report(2, true);
  controller.commandResult(operator.commandId, failedPrecondition('OF_ANY_KIND'));
  pass(stepResendMs);
  t.same(sentKinds, ['mergeShard', 'cancelMerge', 'cancelMerge'], 'the store is asked until it has done it');
  t.equal(operators.onShard(2), operator);
  t.equal(controller.cancel(operator.operatorId, 'really').ok, true, 'canceled twice is canceled once');
  report(3, false);
  t.match(operator, { state: 'canceled', reason: 'really; taken back' });
  t.equal(operators.onShard(2), undefined);
  t.end();
});

t.test('a merge that was quicker than its cancellation ends as what it is', (t) => {
  const { controller, operator, view } = merging();
  controller.cancel(operator.operatorId, 'enough');
  const target = must(view.state.shard(2), 'the target');
  const merged = [{ shardId, version: 2 }];
  const epoch = { confVer: 1, version: 2 };
  view.state.apply({
    kind: 'updateShards',
    shards: [{ ...target, startKey: Buffer.alloc(0), epoch, merge: { into: undefined, merged } }],
  });
  t.equal(view.state.shard(shardId), undefined);
  controller.shardChanged(shardId);
  t.match(operator, { state: 'success', reason: 'enough; too late: the stores had merged' });
  t.end();
});

t.test('a merge that takes too long is taken back by itself, and waited for no longer than any step', (t) => {
  t.equal(mergeTimeoutMs + takeBackTimeoutMs, stepTimeoutMsShort);
  const back = merging();
  back.report(2, true);
  back.pass(mergeTimeoutMs);
  t.same(back.sentKinds, ['mergeShard']);
  back.pass(1);
  t.same(back.sentKinds, ['mergeShard', 'cancelMerge']);
  t.equal(back.operator.state, 'running');
  back.report(3, false);
  const late = `merge into shard 2: the stores are at it within ${mergeTimeoutMs} ms`;
  t.match(back.operator, { state: 'timeout', reason: `${late}; taken back` });

  const stuck = merging();
  stuck.report(2, true);
  stuck.pass(mergeTimeoutMs + 1);
  stuck.pass(takeBackTimeoutMs);
  t.equal(stuck.operator.state, 'running');
  stuck.pass(1);
  t.equal(stuck.operator.state, 'timeout');
  t.match(
    stuck.operator.reason,
    /not taken back within \d+ ms: the stores end the merge, or take it back, when its target/,
  );
  t.end();
});

t.test('the next leader goes on to take a merge back', (t) => {
  const { controller, operator } = merging();
  t.equal(outlivesLeader({ ...operator, plan: { ...operator.plan, source: 'checker' } }), false);
  controller.cancel(operator.operatorId, 'enough');
  t.equal(outlivesLeader({ ...operator, plan: { ...operator.plan, source: 'checker' } }), true);
  const decoded = decodeCommand(encodeCommand({ kind: 'recordOperators', operators: [toRecord(operator, clocks)] }));
  const record = decoded.kind === 'recordOperators' ? decoded.operators[0] : undefined;
  const next = driveNeighbours();
  const resumed = must(fromRecord(must(record, 'a record'), clocks), 'an operator');
  t.same(resumed.takingBack, { to: 'canceled', why: 'enough' });
  next.controller.resume(resumed);
  next.controller.tick();
  t.same(next.sentKinds, ['cancelMerge'], 'and does not begin it once more');
  t.end();
});

t.test('why says of a merge that is given up that it is being taken back', (t) => {
  const { controller, operator, view, operators, state, loads } = merging();
  controller.cancel(operator.operatorId, 'enough');
  const checks = new CheckContext(view, loads(), operators, shardSizesDefault);
  const scheduling = { view, operators, limits: moveLimitsDefault, loads: loads(), cursors: new Cursors() };
  const context = { checks, scheduling, balance: null, blockedOn: () => undefined };
  const [first] = whyShard(context, must(state.shard(shardId), 'a shard'));
  t.equal(first?.wants, 'merge-shards: take back: merge into shard 2; enough');
  t.end();
});
