import t from 'tap';
import { invalidArgument, failedPrecondition, epochNotMatch } from '../../src/base/wire_errors.js';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import {
  operatorHistoryMax,
  stepResendMs,
  stepTimeoutMsCopy,
  stepTimeoutMsShort,
  stepTimeoutMsTransfer,
} from '../../placement/limits.js';
import { OperatorController } from '../../placement/operators/controller.js';
import { IdPool } from '../../placement/operators/id_pool.js';
import type { Operator, OperatorState } from '../../placement/operators/operator.js';
import { effectOf, mayTransition, transition } from '../../placement/operators/operator.js';
import type { Step } from '../../placement/operators/step.js';
import { evaluateStep } from '../../placement/operators/step.js';
import type { Driven } from './support/driven_controller.js';
import { drive } from './support/driven_controller.js';
import type { FixedView, ReplicaSpec, ShardSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

const states: readonly OperatorState[] = ['created', 'running', 'success', 'canceled', 'timeout', 'replaced'];
const legal = new Set([
  ...['running', 'success', 'canceled', 'timeout', 'replaced'].map((to) => `created ${to}`),
  ...['success', 'canceled', 'timeout', 'replaced'].map((to) => `running ${to}`),
]);

t.test('only the transitions of the table are legal', async (t) => {
  for (const from of states) {
    for (const to of states) t.equal(mayTransition(from, to), legal.has(`${from} ${to}`), `${from} to ${to}`);
  }
  t.throws(() => transition({ state: 'success', operatorId: 1 } as Operator, 'running', '', 0), /success to running/);
});

interface StepCase {
  readonly name: string;
  readonly step: Step;
  readonly replicas: ReplicaSpec;
  readonly leader?: number;
  /** done, wait, broken, or the command that is sent. */
  readonly finds: string;
}

const add: Step = { kind: 'addLearner', storeId: 4, replicaId: 104 };
const joint: Step = { kind: 'enterJoint', promote: [4], remove: [3] };
const remove: Step = { kind: 'removePeer', storeId: 3, replicaId: 103 };
const split: Step = { kind: 'splitShard', splitKey: Buffer.alloc(0), newShardId: 9, newReplicaIds: [7, 8], version: 1 };

const stepCases: readonly StepCase[] = [
  { name: 'add: absent', step: add, replicas: { 1: 'v' }, finds: 'changeReplicas 4:2' },
  { name: 'add: catching up', step: add, replicas: { 1: 'v', 4: 'l!' }, finds: 'wait' },
  {
    name: 'add: the store went down while the learner was catching up',
    step: { ...add, storeId: 6, replicaId: 106 },
    replicas: { 1: 'v', 6: 'l!' },
    finds: 'broken',
  },
  { name: 'add: caught up', step: add, replicas: { 1: 'v', 4: 'l' }, finds: 'done' },
  {
    name: 'add: another replica is there',
    step: { ...add, replicaId: 5 },
    replicas: { 1: 'v', 4: 'l' },
    finds: 'broken',
  },
  { name: 'add: joint', step: add, replicas: { 1: 'v', 2: 'o', 3: 'i' }, finds: 'broken' },
  {
    name: 'promote: learner',
    step: { kind: 'promoteLearner', storeId: 4 },
    replicas: { 1: 'v', 4: 'l' },
    finds: 'changeReplicas 4:1',
  },
  { name: 'promote: voter', step: { kind: 'promoteLearner', storeId: 4 }, replicas: { 1: 'v', 4: 'v' }, finds: 'done' },
  { name: 'promote: absent', step: { kind: 'promoteLearner', storeId: 4 }, replicas: { 1: 'v' }, finds: 'broken' },
  {
    name: 'enter joint: ready',
    step: joint,
    replicas: { 1: 'v', 3: 'v', 4: 'l' },
    finds: 'changeReplicas joint 4:1 3:0',
  },
  {
    name: 'enter joint: the leader is to go',
    step: joint,
    replicas: { 1: 'v', 3: 'v', 4: 'l' },
    leader: 3,
    finds: 'transferLeader 101',
  },
  {
    name: 'enter joint: the only voter is to go',
    step: joint,
    replicas: { 3: 'v', 4: 'l' },
    leader: 3,
    finds: 'changeReplicas joint 4:1 3:0',
  },
  { name: 'enter joint: entered', step: joint, replicas: { 1: 'v', 3: 'o', 4: 'i' }, finds: 'done' },
  { name: 'enter joint: left already', step: joint, replicas: { 1: 'v', 4: 'v' }, finds: 'done' },
  { name: 'enter joint: another one', step: joint, replicas: { 1: 'o', 2: 'i', 3: 'v', 4: 'l' }, finds: 'broken' },
  { name: 'enter joint: no learner', step: joint, replicas: { 1: 'v', 3: 'v' }, finds: 'broken' },
  {
    name: 'leave joint: joint',
    step: { kind: 'leaveJoint' },
    replicas: { 1: 'v', 3: 'o', 4: 'i' },
    finds: 'changeReplicas joint',
  },
  { name: 'leave joint: left', step: { kind: 'leaveJoint' }, replicas: { 1: 'v', 4: 'v' }, finds: 'done' },
  { name: 'remove: present', step: remove, replicas: { 1: 'v', 3: 'v' }, finds: 'changeReplicas 3:0' },
  { name: 'remove: leads', step: remove, replicas: { 1: 'v', 3: 'v' }, leader: 3, finds: 'transferLeader 101' },
  { name: 'remove: gone', step: remove, replicas: { 1: 'v' }, finds: 'done' },
  {
    name: 'remove: a newer replica took its place',
    step: { ...remove, replicaId: 5 },
    replicas: { 1: 'v', 3: 'v' },
    finds: 'done',
  },
  {
    name: 'transfer: another leads',
    step: { kind: 'transferLeader', storeId: 2 },
    replicas: { 1: 'v', 2: 'v' },
    finds: 'transferLeader 102',
  },
  {
    name: 'transfer: leads',
    step: { kind: 'transferLeader', storeId: 1 },
    replicas: { 1: 'v', 2: 'v' },
    finds: 'done',
  },
  {
    name: 'transfer: a learner',
    step: { kind: 'transferLeader', storeId: 2 },
    replicas: { 1: 'v', 2: 'l' },
    finds: 'broken',
  },
  {
    name: 'transfer: a store that is silent',
    step: { kind: 'transferLeader', storeId: 5 },
    replicas: { 1: 'v', 5: 'v' },
    finds: 'broken',
  },
  { name: 'split: not yet', step: split, replicas: { 1: 'v', 2: 'v' }, finds: 'splitShard' },
  { name: 'split: done', step: { ...split, version: 0 }, replicas: { 1: 'v', 2: 'v' }, finds: 'done' },
  { name: 'split: the replicas changed', step: split, replicas: { 1: 'v', 2: 'v', 3: 'v' }, finds: 'broken' },
];

function describe(command: StoreCommand['command']): string {
  if (command?.$case === 'changeReplicas') {
    const changes = command.value.changes.map((c) => `${c.storeId}:${c.role}`);
    return [command.$case, ...(command.value.joint ? ['joint'] : []), ...changes].join(' ');
  }
  if (command?.$case === 'transferLeader') return `${command.$case} ${command.value.toReplicaId}`;
  return command?.$case ?? 'none';
}

function viewOf(shard: ShardSpec): FixedView {
  return fixedView({ stores: [{}, {}, {}, {}, { state: 'silent' }, { state: 'down' }], shards: [shard] });
}

for (const { name, step, replicas, leader, finds } of stepCases) {
  t.test(`step ${name}: ${finds}`, async (t) => {
    const { view, shards } = viewOf({ replicas, ...(leader === undefined ? {} : { leader }) });
    const shard = shards[0];
    if (shard === undefined) throw new Error('no shard');
    const at = evaluateStep(step, shard, view);
    t.equal(at.state === 'send' ? describe(at.command) : at.state, finds);
  });
}

function driven(shard: ShardSpec): Driven {
  return drive(viewOf(shard));
}

function admit({ controller }: Driven, steps: readonly Step[]): Operator {
  const admission = controller.admit({ shardId: 1, kind: 'test', source: 'admin', steps, reason: 'because' });
  if (!admission.ok) throw new Error(admission.reason);
  return admission.operator;
}

t.test('an operator without anything left to do succeeds at once', async (t) => {
  const cluster = driven({ replicas: { 1: 'v', 2: 'v' } });
  const operator = admit(cluster, [{ kind: 'transferLeader', storeId: 1 }]);
  t.equal(operator.state, 'success');
  t.same(cluster.sent, []);
  t.same(cluster.operators.history(), [operator]);
});

t.test('a shard has one operator at a time', async (t) => {
  const cluster = driven({ replicas: { 1: 'v' } });
  const operator = admit(cluster, [add]);
  const second = cluster.controller.admit({ ...operator.plan });
  t.same(second, { ok: false, reason: 'OPERATOR_RUNNING' });
});

t.test('a new replica gets a fresh id, and the command goes to the leader with the epoch', async (t) => {
  const cluster = driven({ replicas: { 1: 'v', 2: 'v' }, leader: 2 });
  const operator = admit(cluster, [{ ...add, replicaId: 0 }]);
  t.equal(operator.state, 'running');
  t.equal(cluster.sent[0]?.storeId, 2);
  const command = cluster.sent[0]?.command.command;
  t.match(command, { $case: 'changeReplicas', value: { epoch: { confVer: 1, version: 1 } } });
  const replicaId = command?.$case === 'changeReplicas' ? command.value.changes[0]?.replicaId : 0;
  t.not(replicaId, operator.operatorId, 'ids are not shared');
  t.ok((replicaId ?? 0) >= 1_000);
});

t.test('a command is sent again when nothing came of it, not before', async (t) => {
  const cluster = driven({ replicas: { 1: 'v' } });
  admit(cluster, [add]);
  cluster.controller.shardChanged(1);
  t.equal(cluster.sent.length, 1);
  cluster.view.setTime(cluster.view.nowMs + stepResendMs);
  // The store must still be heard of to be sent to.
  cluster.view.storeHeartbeat(1, must(cluster.view.report(1)));
  cluster.controller.tick();
  t.equal(cluster.sent.length, 2);
});

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('missing');
  return value;
}

t.test('a step that takes too long ends the operator, and copying may take longer', async (t) => {
  const limits: [Step, number][] = [
    [add, stepTimeoutMsCopy],
    [{ kind: 'promoteLearner', storeId: 2 }, stepTimeoutMsShort],
    [{ kind: 'transferLeader', storeId: 3 }, stepTimeoutMsTransfer],
  ];
  for (const [step, timeoutMs] of limits) {
    const cluster = driven({ replicas: { 1: 'v', 2: 'l', 3: 'v' } });
    const operator = admit(cluster, [step]);
    const heard = (ms: number): void => {
      cluster.view.setTime(operator.stepStartedAtMs + ms);
      for (const id of [1, 3, 4]) cluster.view.storeHeartbeat(id, must(cluster.view.report(id)));
      cluster.controller.tick();
    };
    heard(timeoutMs);
    t.equal(operator.state, 'running', step.kind);
    heard(timeoutMs + 1);
    t.equal(operator.state, 'timeout', step.kind);
  }
});

t.test('a refusal for good ends the operator, a passing one does not', async (t) => {
  const cases: { error: Parameters<OperatorController['commandResult']>[1]; step: Step; ends: boolean }[] = [
    { error: invalidArgument('split_key', 'SPLIT_KEY'), step: split, ends: true },
    { error: failedPrecondition('TOO_FEW_KEYS'), step: split, ends: true },
    { error: failedPrecondition('PROPOSAL_BUSY'), step: split, ends: false },
    { error: failedPrecondition('CHANGE_NOT_ACCEPTABLE'), step: { kind: 'promoteLearner', storeId: 2 }, ends: false },
    { error: epochNotMatch([]), step: split, ends: false },
    { error: undefined, step: split, ends: false },
  ];
  for (const { error, step, ends } of cases) {
    const cluster = driven({ replicas: { 1: 'v', 2: 'l' } });
    const operator = admit(cluster, [step]);
    cluster.controller.commandResult(operator.commandId, error);
    t.equal(operator.state, ends ? 'canceled' : 'running', error?.message ?? 'no error');
  }
});

t.test('a canceled operator leaves its shard free', async (t) => {
  const cluster = driven({ replicas: { 1: 'v' } });
  const operator = admit(cluster, [add]);
  t.same(cluster.controller.cancel(operator.operatorId, 'enough'), { ok: true, operator });
  t.equal(operator.state, 'canceled');
  t.equal(operator.reason, 'enough');
  t.same(cluster.controller.cancel(operator.operatorId, 'again'), { ok: false, reason: 'NOT_RUNNING' });
  t.equal(cluster.operators.onShard(1), undefined);
});

t.test('history keeps the last finished operators', async (t) => {
  const cluster = driven({ replicas: { 1: 'v' } });
  let last = 0;
  for (let i = 0; i < operatorHistoryMax + 5; i++) {
    last = admit(cluster, [{ kind: 'leaveJoint' }]).operatorId;
  }
  t.equal(cluster.operators.history().length, operatorHistoryMax);
  t.equal(cluster.operators.history().at(-1)?.operatorId, last);
});

t.test('without ids no operator starts, and ids are asked for once', async (t) => {
  const cluster = viewOf({ replicas: { 1: 'v' } });
  let asked = 0;
  const ids = new IdPool(() => {
    asked++;
  });
  const controller = new OperatorController({
    view: cluster.view,
    table: cluster.operators,
    ids,
    send: () => undefined,
    finished: () => undefined,
  });
  const plan = { shardId: 1, kind: 'test', source: 'admin', steps: [add], reason: '' } as const;
  t.same(controller.admit(plan), { ok: false, reason: 'NO_IDS' });
  t.same(controller.admit(plan), { ok: false, reason: 'NO_IDS' });
  t.equal(asked, 1);
  ids.give(1, 100);
  t.equal(controller.admit(plan).ok, true);
});

t.test('the effect of a plan is what its steps add, remove and lead to', async (t) => {
  t.same(effectOf([add, { kind: 'transferLeader', storeId: 2 }, joint, { kind: 'leaveJoint' }]), {
    adds: [4],
    removes: [3],
    leaderTo: 2,
  });
  t.same(effectOf([remove]), { adds: [], removes: [3], leaderTo: 0 });
});
