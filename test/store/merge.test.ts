import t from 'tap';
import { must } from '../../src/base/assert.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import { AdminCommand, ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole, Shard as ShardMessage } from '../../src/gen/skerry/v1/meta.js';
import type { Command } from '../../src/multiraft/host.js';
import { mergedShardsMax } from '../../store/limits.js';
import { commitMerge, fateOf, prepareMerge } from '../../store/merge.js';
import { mergeSessions } from '../../store/session_merge.js';
import { SessionTable } from '../../store/session_table.js';
import { MachineDriver, recordOf, sessionsOf, set, testShard, write } from './machine_driver.js';

/** Shard 1 has the keys below 'm', shard 2 the others; both on stores 1, 2, 3. */
const left = testShard({ endKey: Buffer.from('m') });
const right = testShard({
  shardId: 2,
  startKey: Buffer.from('m'),
  replicas: [1, 2, 3].map((storeId) => ({ replicaId: 20 + storeId, storeId, role: ReplicaRole.VOTER })),
});

function prepared(source: Shard, target: Shard): Shard {
  const verdict = prepareMerge(source, { epoch: source.epoch, target }, 7, 6);
  if (verdict.kind === 'refused') throw new Error(verdict.reason);
  return verdict.shard;
}

function admin(command: NonNullable<AdminCommand['command']>): Command {
  return { kind: 2, bytes: Buffer.from(AdminCommand.encode({ command }).finish()) };
}

t.test('two neighbours become one shard with the union of their ranges and a version above both', async (t) => {
  for (const [source, target] of [
    [left, right],
    [right, left],
  ] as const) {
    const verdict = commitMerge(target, { source: prepared({ ...source, epoch: { confVer: 1, version: 8 } }, target) });
    t.match(verdict, { kind: 'merged', shard: { shardId: target.shardId, epoch: { confVer: 1, version: 10 } } });
    const shard = verdict.kind === 'merged' ? verdict.shard : null;
    t.same([shard?.startKey.length, shard?.endKey.length], [0, 0]);
    t.same(shard?.merge?.merged, [{ shardId: source.shardId, version: 10 }]);
  }
});

t.test('shards that do not fit are not merged, and each refusal says why', async (t) => {
  const cases: [Partial<Shard>, Partial<Shard>, string][] = [
    [{ epoch: { confVer: 2, version: 1 } }, {}, 'epoch'],
    [{}, { startKey: Buffer.from('n') }, 'notNeighbours'],
    [{}, { keyspaceId: 2 }, 'notNeighbours'],
    [{}, { replicas: right.replicas.slice(1) }, 'notAligned'],
    [{}, { replicas: right.replicas.map((r) => ({ ...r, role: ReplicaRole.LEARNER })) }, 'notAligned'],
    [{}, { replicas: right.replicas.map((r) => ({ ...r, storeId: r.storeId + 1 })) }, 'notAligned'],
    [{}, { merge: prepared(right, left).merge }, 'merging'],
  ];
  for (const [ours, theirs, reason] of cases) {
    const verdict = prepareMerge({ ...left, ...ours }, { epoch: left.epoch, target: { ...right, ...theirs } }, 7, 6);
    t.same(verdict, { kind: 'refused', reason });
  }
  const later = { ...right, epoch: { confVer: 1, version: 2 } };
  t.same(commitMerge(later, { source: prepared(left, right) }), { kind: 'refused', reason: 'epoch' });
});

t.test('what a state of the target says of a merge: open, done, ruled out, or not remembered any more', async (t) => {
  const into = must(prepared(left, right).merge?.into, 'a target');
  const state = (version: number, confVer: number, merged: number[]): Shard => ({
    ...right,
    epoch: { confVer, version },
    merge: { into: undefined, merged: merged.map((shardId) => ({ shardId, version: shardId })) },
  });
  t.equal(fateOf(1, into, state(1, 1, [])), 'open');
  t.equal(fateOf(1, into, state(2, 1, [])), 'ruledOut', 'a split came first');
  t.equal(fateOf(1, into, state(1, 2, [])), 'ruledOut', 'a membership change came first');
  t.equal(fateOf(1, into, state(9, 1, [1])), 'merged', 'and what it looks like since is of no matter');
  const many = Array.from({ length: mergedShardsMax }, (_, at) => 100 + at);
  t.equal(fateOf(1, into, state(200, 1, many)), 'forgotten', 'past the bound nobody guesses');
});

t.test('a source that waits takes no write, no split and no membership change, until it is taken back', async (t) => {
  const driver = new MachineDriver(new MemoryEngine(), left);
  const epoch = { confVer: 1, version: 1 };
  await driver.entry(admin({ $case: 'prepareMerge', value: { epoch, target: right } }));
  t.equal(driver.machine.isMerging, true);
  t.match(await driver.entry(write([set('a', '1')])), [{ kind: 'keyNotInShard' }]);
  const value = { epoch: { confVer: 1, version: 2 }, splitKey: Buffer.from('c'), newShard: { ...left, shardId: 9 } };
  t.match(await driver.entry(admin({ $case: 'split', value })), [{ kind: 'refused', reason: 'merging' }]);
  const restarted = await driver.restarted();
  t.equal(restarted.machine.isMerging, true, 'a restart finds it waiting');
  t.match(await restarted.entry(admin({ $case: 'rollbackMerge', value: { epoch } })), [{ kind: 'refused' }]);
  const back = { epoch: { confVer: 1, version: 2 } };
  t.match(await restarted.entry(admin({ $case: 'rollbackMerge', value: back })), [{ kind: 'changed' }]);
  t.same(await restarted.entry(write([set('a', '1')])), [{ kind: 'written' }]);
});

t.test('the target takes rows and sessions in and leaves the source’s tombstone in the same batch', async (t) => {
  const engine = new MemoryEngine();
  const source = new MachineDriver(engine, left);
  const target = new MachineDriver(engine, { ...right, replicas: right.replicas });
  const once = { sessionId: 5, sequence: 3, ackedBelow: 3 };
  await source.entry(write([set('a', '1')], once));
  await target.entry(write([set('x', '1')], { sessionId: 5, sequence: 9, ackedBelow: 9 }));
  const epoch = { confVer: 1, version: 1 };
  await source.entry(admin({ $case: 'prepareMerge', value: { epoch, target: right } }));
  target.host.merges.source = source.machine;
  const commit = admin({ $case: 'commitMerge', value: { source: source.machine.shard } });
  t.equal(target.machine.readiness([commit]), 'alone');
  t.match(await target.entry(commit), [{ kind: 'changed' }]);
  t.same(target.host.merges.ended, [1]);
  t.equal((await recordOf(engine, 1))?.state, ReplicaState.TOMBSTONE);
  t.equal((await sessionsOf(engine, 1)).size, 0);
  t.equal(await target.get('a'), '1');
  await target.entry(write([set('a', '2')]));
  const restarted = await target.restarted();
  for (const driver of [target, restarted]) {
    t.same(await driver.entry(write([set('a', '1')], { ...once, retry: true })), [{ kind: 'written' }]);
    t.equal(await driver.get('a'), '2', 'the retried write did not take effect again');
  }
  t.match(await target.entry(commit), [{ kind: 'refused', reason: 'epoch' }], 'a second one finds another epoch');
});

/** A state as a snapshot of the shard carries it. */
function snapshotOf({ machine }: MachineDriver): Shard {
  return ShardMessage.decode(ShardMessage.encode(machine.shard).finish());
}

/** A source that waits for a target, on one engine. */
async function waiting(): Promise<{ source: MachineDriver; target: MachineDriver; commit: Command; forbid: Command }> {
  const engine = new MemoryEngine();
  const source = new MachineDriver(engine, left);
  const target = new MachineDriver(engine, right);
  const { epoch } = right;
  await source.entry(admin({ $case: 'prepareMerge', value: { epoch: left.epoch, target: right } }));
  target.host.merges.source = source.machine;
  const commit = admin({ $case: 'commitMerge', value: { source: source.machine.shard } });
  return { source, target, commit, forbid: admin({ $case: 'forbidMerge', value: { epoch } }) };
}

t.test(
  'ruled out first: the target never takes the source in, by whichever state one looks, and the source serves again',
  async (t) => {
    const { source, target, commit, forbid } = await waiting();
    const into = must(source.machine.shard.merge?.into, 'a target');
    t.equal(fateOf(1, into, snapshotOf(target)), 'open', 'a snapshot of before leaves it open');
    // In one batch, as a replica applies them that was behind.
    const [first, second] = await target.batch([[forbid], [commit]]);
    t.match([first, second], [[{ kind: 'changed' }], [{ kind: 'refused', reason: 'epoch' }]]);
    t.equal(target.machine.readiness([commit]), 'alone', 'a replica without the source need not wait for it');
    t.same(target.host.merges.ended, [], 'the source was not taken');
    t.equal(fateOf(1, into, snapshotOf(target)), 'ruledOut');
    const restarted = await target.restarted();
    t.match(await restarted.entry(commit), [{ kind: 'refused', reason: 'epoch' }], 'nor does it after a restart');
    t.equal(fateOf(1, into, snapshotOf(restarted)), 'ruledOut');
    const back = admin({ $case: 'rollbackMerge', value: { epoch: source.machine.shard.epoch } });
    t.match(await source.batch([[back], [back]]), [[{ kind: 'changed' }], [{ kind: 'refused' }]], 'once');
    t.same(await source.entry(write([set('a', '2')])), [{ kind: 'written' }]);
    t.equal((await recordOf(target.engine, 1))?.state, ReplicaState.NORMAL);
  },
);

t.test(
  'taken in first: nothing rules the merge out any more, and no state of the target gives the source back',
  async (t) => {
    const { source, target, commit, forbid } = await waiting();
    const into = must(source.machine.shard.merge?.into, 'a target');
    const [first, second] = await target.batch([[commit], [forbid]]);
    t.match([first, second], [[{ kind: 'changed' }], [{ kind: 'refused', reason: 'epoch' }]]);
    t.equal(fateOf(1, into, snapshotOf(target)), 'merged');
    const restarted = await target.restarted();
    t.match(await restarted.entry(forbid), [{ kind: 'refused' }]);
    t.equal(fateOf(1, into, snapshotOf(restarted)), 'merged');
    t.equal((await recordOf(target.engine, 1))?.state, ReplicaState.TOMBSTONE);
  },
);

t.test('what rolls one merge back does nothing to the next one of the same shards', async (t) => {
  const { source, target, commit, forbid } = await waiting();
  const old = admin({ $case: 'rollbackMerge', value: { epoch: source.machine.shard.epoch } });
  await target.entry(forbid);
  await source.entry(old);
  const { epoch } = source.machine.shard;
  await source.entry(admin({ $case: 'prepareMerge', value: { epoch, target: target.machine.shard } }));
  t.equal(source.machine.isMerging, true);
  t.match(await source.entry(old), [{ kind: 'refused', reason: 'epoch' }]);
  t.match(await target.entry(commit), [{ kind: 'refused', reason: 'epoch' }], 'nor does the old commit take it in');
  t.match(await target.entry(forbid), [{ kind: 'refused', reason: 'epoch' }]);
  t.equal(source.machine.isMerging, true);
});

t.test('a merge that has not begun is ruled out in its own log, and one that has is not', async (t) => {
  const { epoch } = left;
  const prepare = admin({ $case: 'prepareMerge', value: { epoch, target: right } });
  const forbid = admin({ $case: 'forbidMerge', value: { epoch } });
  const inTime = new MachineDriver(new MemoryEngine(), left);
  t.match(await inTime.batch([[forbid], [prepare]]), [[{ kind: 'changed' }], [{ kind: 'refused', reason: 'epoch' }]]);
  t.equal(inTime.machine.isMerging, false);
  const late = new MachineDriver(new MemoryEngine(), left);
  t.match(await late.batch([[prepare], [forbid]]), [[{ kind: 'changed' }], [{ kind: 'refused', reason: 'epoch' }]]);
  t.equal(late.machine.isMerging, true);
});

t.test('a floor that only one of the two shards had does not expire a write that waited for the other', async (t) => {
  const key = (text: string): Buffer[] => [Buffer.concat([Buffer.from('d\0\0\0\x01', 'latin1'), Buffer.from(text)])];
  const source = new SessionTable();
  const target = new SessionTable();
  source.record(5, 40, 40, 10, 'applied', key('a'));
  target.record(5, 60, 60, 10, 'applied', key('x'));
  const rows = mergeSessions(target.rows(), source.rows(), { key: Buffer.from('m'), sourceAbove: false }, 20);
  const merged = SessionTable.load(rows);
  t.equal(merged.judge(5, 50, true, key('b')), 'apply', 'it waited while the source did not serve');
  t.equal(merged.judge(5, 50, true, key('y')), 'expired', 'the target was told that this was answered');
  t.equal(merged.judge(5, 30, true, key('b')), 'expired');
  t.equal(merged.judge(5, 40, true, key('a')), 'duplicate');
  t.equal(merged.judge(5, 60, true, key('x')), 'duplicate');
  merged.record(5, 61, 61, 21, 'applied', key('x'));
  t.equal(merged.judge(5, 50, true, key('b')), 'apply', 'a write sent before the merge was known changes nothing');
  const again = SessionTable.load(merged.rows());
  t.equal(again.judge(5, 50, true, key('b')), 'apply', 'nor does a restart');
});

t.test('a session that one of the two shards may have dropped counts as dropped', async (t) => {
  const key = { key: Buffer.from('m'), sourceAbove: true };
  const target = new SessionTable({ sessions: 1, sequences: 4 });
  target.record(7, 1, 1, 10);
  target.record(8, 1, 1, 11);
  const source = new SessionTable();
  source.record(7, 2, 2, 10);
  const merged = SessionTable.load(mergeSessions(target.rows(), source.rows(), key, 20));
  t.equal(merged.judge(7, 1, true), 'expired');
  t.equal(merged.size, 1, 'session 8 is not known to the source, but that one dropped nothing');
});

t.test('a session that was made again in one of the two shards stays one whose retries are in doubt', async (t) => {
  const key = { key: Buffer.from('m'), sourceAbove: true };
  const target = new SessionTable({ sessions: 1, sequences: 4 });
  target.record(7, 1, 1, 10);
  target.record(8, 1, 1, 11);
  target.record(7, 2, 1, 12);
  const source = new SessionTable();
  source.record(7, 3, 1, 10);
  source.record(9, 1, 1, 11);
  const merged = SessionTable.load(mergeSessions(target.rows(), source.rows(), key, 20));
  t.equal(merged.judge(7, 1, true), 'expired', 'it took effect before the target dropped the session');
  t.same([merged.judge(7, 2, true), merged.judge(7, 3, true)], ['duplicate', 'duplicate']);
  t.equal(merged.judge(9, 2, true), 'apply', 'the target never dropped so young a session');
});
