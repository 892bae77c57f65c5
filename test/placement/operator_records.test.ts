import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import { serverIsBusy } from '../../src/base/wire_errors.js';
import {
  journalBacklogMax,
  operatorHistoryMax,
  recordedOperatorsMax,
  recordsPerCommandMax,
} from '../../placement/limits.js';
import type { Operator, OperatorSource } from '../../placement/operators/operator.js';
import { OperatorJournal } from '../../placement/operators/operator_journal.js';
import { fromRecord, toRecord } from '../../placement/operators/operator_record.js';
import { OperatorTable } from '../../placement/operators/operator_table.js';
import type { Step } from '../../placement/operators/step.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import type { CommandOutcome, PlacementCommand } from '../../placement/state/commands.js';
import type { OperatorRecord } from '../../placement/state/operator_records.js';
import { operatorRecordFormat } from '../../placement/state/operator_records.js';
import { changedRows, restoreRow } from '../../placement/state/rows.js';
import { WireFault } from '../../placement/wire_fault.js';
import { driveNeighbours } from './support/driven_controller.js';

const shardId = 1;
const move: readonly Step[] = [
  { kind: 'addLearner', storeId: 4, replicaId: 44 },
  { kind: 'transferLeader', storeId: 2 },
  { kind: 'enterJoint', promote: [4], remove: [1] },
  { kind: 'leaveJoint' },
];

function operatorOf(operatorId: number, part: Partial<Operator> = {}): Operator {
  const steps = part.steps ?? move;
  return {
    operatorId,
    plan: { shardId, kind: 'move-replica', source: 'admin', steps, reason: 'asked for' },
    steps,
    createdAtMs: 1_000,
    hold: null,
    state: 'running',
    currentStep: 0,
    stepStartedAtMs: 1_000,
    sentAtMs: -Infinity,
    sentToStoreId: 0,
    commandId: 0,
    mergeSent: false,
    takingBack: null,
    finishedAtMs: 0,
    reason: 'asked for',
    ...part,
  };
}

const clocks = { nowMs: 5_000, wallMs: 1_700_000_000_000 };

function recordOf(operatorId: number, part: Partial<OperatorRecord> = {}): OperatorRecord {
  return { ...toRecord(operatorOf(operatorId), clocks), ...part };
}

/** A state with one shard of a keyspace that wants two voters. */
function stateWithShard(): ClusterState {
  const state = new ClusterState();
  const partitioning = Partitioning.RANGE;
  const none = Buffer.alloc(0);
  apply(state, { kind: 'createKeyspace', name: 'ks', partitioning, replicaCount: 2, initialShards: 1 });
  apply(state, { kind: 'addShards', keyspaceId: 1, shards: [{ startKey: none, endKey: none, storeIds: [1, 2] }] });
  return state;
}

/** As it happens: through the bytes of the log. */
function apply(state: ClusterState, command: PlacementCommand): CommandOutcome {
  return state.apply(decodeCommand(encodeCommand(command)));
}

function reloaded(state: ClusterState): ClusterState {
  const copy = new ClusterState();
  for (const { key, value } of changedRows(state, state.takeChanges())) {
    if (value !== null) restoreRow(copy, key, value);
  }
  return copy;
}

function start(state: ClusterState, record: OperatorRecord, voters: number | null): CommandOutcome {
  const target = voters === null ? null : { voters, learnerStoreIds: [] };
  return apply(state, { kind: 'startOperator', operator: record, target });
}

function end(state: ClusterState, operatorId: number, outcome: 'success' | 'timeout'): CommandOutcome {
  const record = recordOf(operatorId, { state: outcome, endedAtWallMs: clocks.wallMs });
  return apply(state, { kind: 'recordOperators', operators: [record] });
}

t.test('an operator that fails takes its target back with its end, and one that succeeds leaves it', (t) => {
  for (const [outcome, voters] of [
    ['timeout', undefined],
    ['success', 3],
  ] as const) {
    const state = stateWithShard();
    t.same(start(state, recordOf(100), 3), { ok: true, value: 100 });
    t.equal(state.target(shardId)?.voters, 3);
    // How far it is says nothing of the target, and must not lose it.
    apply(state, { kind: 'recordOperators', operators: [recordOf(100, { currentStep: 2 })] });
    t.equal(state.operators.get(100)?.currentStep, 2);
    t.same(end(state, 100, outcome), { ok: true, value: 1 });
    t.equal(state.target(shardId)?.voters, voters, outcome);
    t.same([state.operators.runningCount, state.operators.endedCount], [0, 1]);
    t.same(end(state, 100, 'timeout'), { ok: true, value: 0 }, 'it ends once');
    t.same(apply(state, { kind: 'recordOperators', operators: [recordOf(100)] }), { ok: true, value: 0 });
    t.equal(state.operators.isRunning(100), false, 'and does not begin again');
  }
  t.end();
});

t.test('a member that loads its rows knows the same operators', (t) => {
  const state = stateWithShard();
  start(state, recordOf(100), 3);
  start(state, recordOf(101), null);
  end(state, 101, 'success');
  const copy = reloaded(state);
  t.same(copy.operators.running(), state.operators.running());
  t.same(copy.operators.ended(), state.operators.ended());
  t.same(copy.operators.get(100)?.targetBefore, { voters: 0, learnerStoreIds: [] });
  t.end();
});

t.test('past their number operators are refused until one ends', (t) => {
  const state = stateWithShard();
  for (let id = 1; id <= recordedOperatorsMax; id++) start(state, recordOf(id), null);
  t.equal(state.operators.runningCount, recordedOperatorsMax);
  const refused = start(state, recordOf(5_000), 3);
  t.same(refused, { ok: false, error: serverIsBusy('placement.operators', 10_000) });
  t.equal(state.target(shardId), undefined, 'nothing is done by halves');
  end(state, 7, 'success');
  t.equal(start(state, recordOf(5_000), 3).ok, true);
  t.end();
});

t.test('the history keeps those made last, the same ones on every member, whenever it loaded its rows', (t) => {
  const state = stateWithShard();
  // The order in which they end is not the order in which rows are loaded.
  for (let id = operatorHistoryMax; id > 0; id--) end(state, id, 'success');
  const late = reloaded(state);
  for (const member of [state, late]) {
    end(member, 1_000, 'success');
    t.equal(member.operators.endedCount, operatorHistoryMax);
    t.equal(member.operators.get(1), undefined);
  }
  t.same(late.operators.ended(), state.operators.ended());
  t.equal(reloaded(late).operators.get(1), undefined);
  const rows = changedRows(state, state.takeChanges());
  t.equal(rows.filter((row) => row.value === null).length, 1, 'its row is deleted');
  t.end();
});

t.test('an operator comes out of its record as it went in, with times of the clock here', (t) => {
  const split: Step = {
    kind: 'splitShard',
    splitKey: Buffer.from([1, 255]),
    newShardId: 9,
    newReplicaIds: [10],
    version: 4,
  };
  const rest: Step[] = [
    { kind: 'promoteLearner', storeId: 4 },
    { kind: 'removePeer', storeId: 1, replicaId: 11 },
    { kind: 'mergeShards', targetShardId: 2, version: 4 },
  ];
  const operator = operatorOf(5, { steps: [...move, split, ...rest], currentStep: 4, createdAtMs: 2_000 });
  const through = JSON.parse(JSON.stringify(toRecord(operator, clocks))) as OperatorRecord;
  const later = { nowMs: 100, wallMs: clocks.wallMs + 1_500 };
  const back = must(fromRecord(through, later), 'an operator');
  t.same(back.steps, operator.steps);
  t.same(
    { ...back, steps: [], plan: 0 },
    { ...operator, steps: [], plan: 0, createdAtMs: -4_400, stepStartedAtMs: 100 },
  );
  t.equal(later.nowMs - back.createdAtMs, 4_500, 'it is as old as it is');
  const ahead = must(fromRecord(through, { nowMs: 100, wallMs: 5 }), 'an operator');
  t.equal(ahead.createdAtMs, 100, 'nothing lies in the future, whatever the clocks say');
  t.end();
});

t.test('an operator of a later version is left alone', (t) => {
  t.equal(fromRecord(recordOf(1, { format: operatorRecordFormat + 1 }), clocks), null);
  t.equal(fromRecord(recordOf(1, { steps: [{ kind: 'sing' }] }), clocks), null);
  t.end();
});

interface Journaled {
  readonly journal: OperatorJournal;
  readonly commands: OperatorRecord[][];
  answer: (error?: Error) => Promise<void>;
}

/** A journal whose commands wait for their answer. */
function journaled(): Journaled {
  const commands: OperatorRecord[][] = [];
  let pending: { resolve: (outcome: CommandOutcome) => void; reject: (error: Error) => void } | null = null;
  const propose = (command: PlacementCommand): Promise<CommandOutcome> => {
    if (command.kind === 'recordOperators') commands.push([...command.operators]);
    return new Promise((resolve, reject) => (pending = { resolve, reject }));
  };
  const journal = new OperatorJournal(
    propose,
    () => clocks,
    (error) => {
      if (!(error instanceof WireFault)) throw error;
    },
  );
  const answer = async (error?: Error): Promise<void> => {
    const { resolve, reject } = must(pending, 'a command on its way');
    if (error === undefined) resolve({ ok: true, value: 0 });
    else reject(error);
    await new Promise((done) => setImmediate(done));
  };
  return { journal, commands, answer };
}

function by(
  source: OperatorSource,
  operatorId: number,
  steps: readonly Step[],
  part: Partial<Operator> = {},
): Operator {
  const plan = { shardId: operatorId, kind: 'x', source, steps, reason: '' };
  return operatorOf(operatorId, { plan, steps, ...part });
}

t.test('what someone asked for and what copies data is recorded as it gets on; of the rest, the end', async (t) => {
  const { journal, commands, answer } = journaled();
  const transfer: Step[] = [{ kind: 'transferLeader', storeId: 2 }];
  journal.note(by('admin', 1, transfer));
  journal.note(by('scheduler', 2, transfer));
  journal.note(by('checker', 3, move));
  journal.note(by('scheduler', 4, transfer, { state: 'success', finishedAtMs: 4_000 }));
  journal.flush();
  t.same(
    commands.map((records) => records.map((r) => r.operatorId)),
    [[1, 3, 4]],
  );
  t.same(commands[0]?.[2]?.endedAtWallMs, clocks.wallMs - 1_000);
  await answer();
  t.equal(journal.size, 0);
});

t.test('what comes while a command is on its way goes out with the next, and a lost one is sent again', async (t) => {
  const { journal, commands, answer } = journaled();
  const operator = by('admin', 1, move);
  journal.note(operator);
  journal.flush();
  operator.currentStep = 1;
  journal.note(operator);
  for (let id = 2; id <= recordsPerCommandMax + 1; id++) journal.note(by('admin', id, move));
  journal.flush();
  t.equal(commands.length, 1, 'one at a time');
  await answer();
  t.equal(commands[1]?.length, recordsPerCommandMax);
  t.equal(commands[1]?.[0]?.currentStep, 1);
  await answer(new WireFault(serverIsBusy('raft', 100)));
  t.equal(journal.size, recordsPerCommandMax + 1, 'nothing is lost');
  journal.flush();
  await answer();
  await answer();
  t.equal(journal.size, 0);
});

t.test('past its backlog the journal leaves out what only the history wants', (t) => {
  const { journal, commands } = journaled();
  journal.note(by('admin', 1, move));
  const ended = { state: 'success', finishedAtMs: 4_000 } as const;
  for (let id = 2; id <= journalBacklogMax + 5; id++) journal.note(by('scheduler', id, [], ended));
  t.equal(journal.size, journalBacklogMax);
  journal.flush();
  t.same(
    commands[0]?.slice(0, 2).map((r) => r.operatorId),
    [1, 7],
  );
  journal.close();
  t.equal(journal.size, 0);
  t.end();
});

t.test('an operator that waits for its record has its shard and sends nothing', (t) => {
  const { controller, sentKinds, operators } = driveNeighbours();
  const admission = controller.admit(operatorOf(1).plan, 'record');
  if (!admission.ok) throw new Error(admission.reason);
  controller.shardChanged(shardId);
  controller.tick();
  t.same(sentKinds, []);
  t.equal(operators.onShard(shardId), admission.operator);
  t.equal(controller.admit(operatorOf(2).plan).ok, false);
  controller.release(admission.operator);
  t.same(sentKinds, ['changeReplicas']);
  t.end();
});

t.test('an operator of an earlier leader is gone on with, at its step, unless another one has its shard', (t) => {
  const { controller, sentKinds, operators } = driveNeighbours();
  const taken = operatorOf(9, {
    currentStep: 1,
    steps: [{ kind: 'leaveJoint' }, { kind: 'transferLeader', storeId: 2 }],
  });
  t.equal(controller.resume(taken), true);
  t.equal(controller.resume(operatorOf(8)), false);
  controller.shardChanged(shardId);
  t.same(sentKinds, [], 'not before a look at what the stores have reported');
  controller.tick();
  t.same(sentKinds, ['transferLeader']);
  t.equal(operators.byOperatorId(9), taken);
  t.end();
});

t.test('of a merge the next leader assumes that an earlier one may have sent it', (t) => {
  const steps: Step[] = [{ kind: 'mergeShards', targetShardId: 2, version: 1 }];
  t.equal(fromRecord(recordOf(1, { steps }), clocks)?.mergeSent, true);
  t.equal(fromRecord(recordOf(1), clocks)?.mergeSent, false);
  t.end();
});

t.test('a shard that an earlier leader moved goes on resting', (t) => {
  const table = new OperatorTable();
  table.remember(by('scheduler', 5, move, { state: 'success', finishedAtMs: 4_000 }), 4_000);
  t.same(table.moveHindrance(5, 5_000)?.kind, 'resting');
  t.equal(table.history().length, 1);
  t.end();
});
