import t from 'tap';
import { partitioningHash } from '../../src/base/encoded_key.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import { ConfChangeContext, ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import type { Epoch } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { ConfChange } from '../../src/raft/conf_change.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfState } from '../../src/raft/message.js';
import { confStateOf } from '../../store/descriptor.js';
import { del, MachineDriver, recordOf, sessionsOf, set, split, swap, testShard, write } from './machine_driver.js';

const written = { kind: 'written' };

t.test('an entry’s commands take effect in order, with the applied position in the same batch', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  t.same(await driver.entry(write([set('a', '1'), set('b', '2')]), write([del('a')])), [written, written]);
  t.equal(await driver.get('a'), null);
  t.equal(await driver.get('b'), '2');
  t.match(await recordOf(driver.engine, 1), { state: ReplicaState.NORMAL, appliedIndex: 6, appliedTerm: 6 });
});

t.test('an empty entry moves the applied position', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  t.same(await driver.entry(), []);
  t.match(await recordOf(driver.engine, 1), { appliedIndex: 6 });
});

t.test('a swap sees the writes of earlier entries and commands of its batch', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const results = await driver.batch([
    [write([swap('a', null, '1')]), write([swap('a', '1', '2')])],
    [write([swap('a', '2', '3')])],
    [write([swap('a', '2', '9')])],
  ]);
  t.same(results.flat().slice(0, 3), [written, written, written]);
  t.match(results.flat()[3], { kind: 'swapFailed', current: Buffer.from('3') });
  t.equal(await driver.get('a'), '3');
});

t.test('one failed swap fails the whole command and says what was there', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  await driver.entry(write([set('a', '1')]));
  const [outcome] = await driver.entry(write([set('b', '2'), swap('a', '7', '8'), del('a')]));
  t.match(outcome, { kind: 'swapFailed', current: Buffer.from('1') });
  t.equal(await driver.get('a'), '1');
  t.equal(await driver.get('b'), null);
});

t.test('a swap may expect no value, and may delete; an empty value is not no value', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  t.same(await driver.entry(write([swap('a', null, '')])), [written]);
  t.match((await driver.entry(write([swap('a', null, '1')])))[0], { kind: 'swapFailed', current: Buffer.alloc(0) });
  t.same(await driver.entry(write([swap('a', '', null)])), [written]);
  t.equal(await driver.get('a'), null);
});

t.test('a key outside of the shard’s present range fails its command and nothing of it is applied', async (t) => {
  const driver = new MachineDriver(
    new MemoryEngine(),
    testShard({ startKey: Buffer.from('b'), endKey: Buffer.from('m') }),
  );
  const [outcome] = await driver.entry(write([set('c', '1'), set('m', '2')]));
  t.match(outcome, { kind: 'keyNotInShard', key: Buffer.from('m') });
  t.equal(await driver.get('c'), null);
});

t.test('bytes that are no command are passed over', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const junk = Buffer.from([0x2a, 0xff]);
  t.same(await driver.entry({ kind: 1, bytes: junk }, { kind: 2, bytes: junk }, write([set('a', '1')])), [
    { kind: 'malformed' },
    { kind: 'malformed' },
    written,
  ]);
});

t.test('a retried write takes effect once, in memory and after a restart', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const first = { sessionId: 5, sequence: 1 };
  await driver.entry(write([set('a', '1')], first));
  await driver.entry(write([set('a', '2')]));
  t.same(await driver.entry(write([set('a', '1')], { ...first, retry: true })), [written]);
  t.equal(await driver.get('a'), '2');
  const restarted = await driver.restarted();
  t.same(await restarted.entry(write([set('a', '1')], { ...first, retry: true })), [written]);
  t.equal(await restarted.get('a'), '2');
});

t.test('a retried swap that took effect reports success, one that failed never succeeds later', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const one = { sessionId: 5, sequence: 1 };
  const two = { sessionId: 5, sequence: 2 };
  t.same(await driver.entry(write([swap('a', null, '1')], one)), [written]);
  t.match((await driver.entry(write([swap('b', 'x', 'y')], two)))[0], { kind: 'swapFailed', current: null });
  await driver.entry(write([set('b', 'x')]));
  t.same(await driver.entry(write([swap('a', null, '1')], { ...one, retry: true })), [written]);
  // The client may know that its swap failed: an attempt that was overtaken must not swap now.
  const late = { kind: 'sessionExpired', sessionId: 5 };
  t.same(await driver.entry(write([swap('b', 'x', 'y')], { ...two, retry: true })), [late]);
  t.same(await driver.entry(write([swap('b', 'x', 'y')], two)), [late]);
  t.equal(await driver.get('b'), 'x');
  await driver.entry(write([set('b', 'z')]));
  t.match((await driver.entry(write([swap('b', 'x', 'y')], { ...two, retry: true })))[0], { kind: 'swapFailed' });
});

t.test('a retry below what was answered has expired', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  await driver.entry(write([set('a', '1')], { sessionId: 5, sequence: 9, ackedBelow: 9 }));
  const [outcome] = await driver.entry(write([set('a', '0')], { sessionId: 5, sequence: 3, retry: true }));
  t.same(outcome, { kind: 'sessionExpired', sessionId: 5 });
  t.equal(await driver.get('a'), '1');
});

t.test('a session is written once per batch, however many writes it has in it', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const writes = [1, 2, 3].map((sequence) => [write([set(`k${sequence}`, 'v')], { sessionId: 5, sequence })]);
  await driver.batch(writes);
  const table = await sessionsOf(driver.engine, 1);
  t.same(
    [...table.rows()],
    [[5, { ackedBelow: 0, applied: [1, 2, 3], refused: [], lastIndex: 8, droppedBefore: false }]],
  );
});

const splitAtM = {
  epoch: { confVer: 1, version: 1 },
  splitKey: Buffer.from('m'),
  newShard: testShard({
    shardId: 2,
    replicas: [1, 2, 3].map((storeId) => ({ replicaId: 20 + storeId, storeId, role: ReplicaRole.VOTER })),
  }),
};

t.test('a split cuts the range, raises both versions, copies sessions and writes both records at once', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  await driver.entry(write([set('a', '1'), set('x', '2')], { sessionId: 5, sequence: 1 }));
  const [outcome, late] = (await driver.batch([[split(splitAtM)], [write([set('x', '3')])]])).flat();
  t.match(outcome, {
    kind: 'split',
    left: { shardId: 1, endKey: Buffer.from('m'), epoch: { confVer: 1, version: 2 } },
    right: { shardId: 2, startKey: Buffer.from('m'), epoch: { confVer: 1, version: 2 } },
  });
  t.match(late, { kind: 'keyNotInShard' }, 'the write behind it in the same batch finds the new range');
  t.match(await recordOf(driver.engine, 1), { appliedIndex: 8, shard: { epoch: { version: 2 } } });
  t.match(await recordOf(driver.engine, 2), {
    replicaId: 21,
    appliedIndex: 5,
    appliedTerm: 5,
    state: ReplicaState.NORMAL,
  });
  t.match(driver.host.children, [{ parentShardId: 1, replicaId: 21 }]);
  t.equal((await sessionsOf(driver.engine, 2)).judge(5, 1, true), 'duplicate');
  t.equal(driver.host.children[0]?.sessions.judge(5, 1, true), 'duplicate');
  t.equal(await driver.get('x'), '2', 'no row moves');
});

t.test('a split is refused at another epoch, outside of the range, and without an id for every replica', async (t) => {
  const driver = new MachineDriver(new MemoryEngine(), testShard({ startKey: Buffer.from('c') }));
  const refused = async (change: object): Promise<unknown> =>
    (await driver.entry(split({ ...splitAtM, ...change })))[0];
  t.same(await refused({ epoch: { confVer: 1, version: 2 } }), { kind: 'refused', reason: 'epoch' });
  t.same(await refused({ epoch: { confVer: 2, version: 1 } }), { kind: 'refused', reason: 'epoch' });
  t.same(await refused({ splitKey: Buffer.from('c') }), { kind: 'refused', reason: 'splitKey' });
  t.same(await refused({ splitKey: Buffer.from('a') }), { kind: 'refused', reason: 'splitKey' });
  t.same(await refused({ newShard: testShard({ shardId: 2, replicas: [] }) }), { kind: 'refused', reason: 'replicas' });
  t.same(driver.machine.shard.epoch, { confVer: 1, version: 1 });
});

t.test('a split whose new replica was here and is gone drops the right-hand rows', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  await driver.entry(write([set('a', '1'), set('x', '2')]));
  driver.host.allowChildren = false;
  await driver.entry(split(splitAtM));
  t.equal(await driver.get('a'), '1');
  t.equal(await driver.get('x'), null);
  t.equal(await recordOf(driver.engine, 2), null);
  t.same(driver.host.children, []);
});

t.test('a hash keyspace keeps keys with one hash tag on one side of a split', async (t) => {
  const shard = testShard({ partitioning: partitioningHash });
  const driver = new MachineDriver(new MemoryEngine(), shard);
  await driver.entry(write([set('{tag}a', '1'), set('{tag}b', '2')]));
  await driver.entry(split({ ...splitAtM, splitKey: Buffer.from([0x80, 0x00]) }));
  const inside = ['{tag}a', '{tag}b'].map((key) =>
    driver.machine.shardKeys.contains(driver.machine.shardKeys.engineKey(Buffer.from(key))),
  );
  t.equal(inside[0], inside[1]);
});

const confState = (voters: number[], change: Partial<ConfState> = {}): ConfState => ({
  voters,
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
  ...change,
});

function change(
  epoch: Epoch,
  changes: ConfChange['changes'],
  options: { joint?: boolean; adds?: readonly (readonly [replicaId: number, storeId: number])[] } = {},
): ConfChange {
  const replicas = (options.adds ?? []).map(([replicaId, storeId]) => ({
    replicaId,
    storeId,
    role: ReplicaRole.VOTER,
  }));
  const context = Buffer.from(ConfChangeContext.encode({ epoch, replicas }).finish());
  const transition = options.joint === true ? ConfChangeTransition.JointExplicit : ConfChangeTransition.Auto;
  return { transition, changes, context };
}

t.test(
  'a learner is added, and a joint change swaps a voter, with the roles and the epoch to show for it',
  async (t) => {
    const driver = new MachineDriver(new MemoryEngine());
    const add = change({ confVer: 1, version: 1 }, [{ type: ConfChangeType.AddLearnerNode, replicaId: 14 }], {
      adds: [[14, 4]],
    });
    await driver.confChange(add, confState([11, 12, 13], { learners: [14] }));
    t.match(driver.machine.shard, { epoch: { confVer: 2, version: 1 } });
    t.equal(driver.machine.hostOf(14), 4);
    const enter = change(
      { confVer: 2, version: 1 },
      [
        { type: ConfChangeType.AddNode, replicaId: 14 },
        { type: ConfChangeType.RemoveNode, replicaId: 13 },
      ],
      { joint: true },
    );
    const joint = confState([11, 12, 14], { votersOutgoing: [11, 12, 13] });
    await driver.confChange(enter, joint);
    t.same(
      driver.machine.shard.replicas.map((r) => [r.replicaId, r.role]),
      [
        [11, ReplicaRole.VOTER],
        [12, ReplicaRole.VOTER],
        [13, ReplicaRole.OUTGOING_VOTER],
        [14, ReplicaRole.INCOMING_VOTER],
      ],
    );
    t.same(confStateOf(driver.machine.shard), joint, 'the descriptor alone restores the configuration');
    t.same(await driver.entry(split({ ...splitAtM, epoch: { confVer: 3, version: 1 } })), [
      { kind: 'refused', reason: 'joint' },
    ]);
    await driver.confChange(change({ confVer: 3, version: 1 }, []), confState([11, 12, 14]));
    t.same(
      driver.machine.shard.replicas.map((r) => r.replicaId),
      [11, 12, 14],
    );
    t.match(await recordOf(driver.engine, 1), { shard: { epoch: { confVer: 4, version: 1 } } });
  },
);

t.test('a membership change of another epoch, or one that roles cannot express, is refused', async (t) => {
  const driver = new MachineDriver(new MemoryEngine());
  const add = [{ type: ConfChangeType.AddLearnerNode, replicaId: 14 }];
  const refused = (c: ConfChange): boolean => !driver.machine.acceptConfChange(c);
  t.ok(refused(change({ confVer: 2, version: 1 }, add)), 'confVer');
  t.ok(refused(change({ confVer: 1, version: 2 }, add)), 'version');
  t.ok(refused(change({ confVer: 1, version: 1 }, [])), 'nothing to leave');
  t.ok(refused(change({ confVer: 1, version: 1 }, add, { joint: true })), 'joint without another voter set');
  t.ok(
    refused({ ...change({ confVer: 1, version: 1 }, add), transition: ConfChangeTransition.JointImplicit }),
    'implicit',
  );
  t.ok(refused({ ...change({ confVer: 1, version: 1 }, add), context: Buffer.from([0xff]) }), 'no context');
  t.notOk(refused(change({ confVer: 1, version: 1 }, add)));
});

t.test(
  'a replica that learns of its own removal serves no more, and keeps what it has until it is destroyed',
  async (t) => {
    const driver = new MachineDriver(new MemoryEngine());
    await driver.entry(write([set('a', '1')], { sessionId: 5, sequence: 1 }));
    const remove = change({ confVer: 1, version: 1 }, [{ type: ConfChangeType.RemoveNode, replicaId: 11 }]);
    t.match(await driver.confChange(remove, confState([12, 13])), { kind: 'changed' });
    t.equal(driver.machine.phase, 'leaving');
    t.match(await recordOf(driver.engine, 1), { state: ReplicaState.NORMAL, replicaId: 11 });
    t.not(await driver.get('a'), null, 'it may have to vote, and what it has is what it votes for');
    driver.machine.markRemoved();
    t.equal(driver.machine.phase, 'removed');
    t.same(await driver.entry(write([set('b', '2')])), [{ kind: 'removed' }]);
  },
);
