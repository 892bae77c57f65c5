import t from 'tap';
import type { GroupStatus } from '../../src/multiraft/host.js';
import { catchingUpShardsMax } from '../../store/limits.js';
import type { Replicas } from '../../store/replicas.js';
import { ShardReports } from '../../store/shard_reports.js';

type Progress = GroupStatus['progress'][number];

/** A store that leads some shards, each with a follower, replica 2, and a learner, replica 3, that is as far as told. */
class LedShards {
  readonly learnerMatch = new Map<number, number>();

  constructor(count: number) {
    for (let shardId = 1; shardId <= count; shardId++) this.learnerMatch.set(shardId, 0);
  }

  replicas(): Replicas {
    const machine = (shardId: number): unknown => ({
      shardId,
      replicaId: 1,
      phase: 'normal',
      shard: { shardId, epoch: { confVer: 2, version: 1 } },
      readsTaken: 0,
      writesTaken: 0,
    });
    const ids = [...this.learnerMatch.keys()];
    const group = (shardId: number): unknown => ({
      isLeader: () => true,
      membershipSettled: () => true,
      status: () => ({ groupId: shardId, replicaId: 1, term: 1, lastIndex: 9, progress: this.progress(shardId) }),
    });
    return { machine, group, machines: () => ids.map(machine).values() } as never;
  }

  private progress(shardId: number): Progress[] {
    const of = (replicaId: number, match: number): Progress => ({
      replicaId,
      match,
      state: match === 0 ? 'snapshot' : 'replicate',
      recentActive: true,
      learner: replicaId === 3,
    });
    return [of(1, 9), of(2, 9), of(3, this.learnerMatch.get(shardId) ?? 0)];
  }
}

const runtime = { nowMs: (): number => 0 };

function pendingOf(reports: ShardReports): [shardId: number, pending: boolean][] {
  return reports
    .take(10_000)
    .shards.map(({ shard, progress }) => [shard?.shardId ?? 0, progress.some((p) => p.pending)]);
}

t.test('a replica that caught up is news at the next short look, and then not any more', (t) => {
  const led = new LedShards(3);
  const reports = new ShardReports(led.replicas(), runtime);
  reports.reset();
  t.same(pendingOf(reports).length, 3);
  reports.lookAtCatchingUp();
  t.notOk(reports.pending, 'nothing changed');
  led.learnerMatch.set(2, 9);
  reports.lookAtCatchingUp();
  t.same(pendingOf(reports), [[2, false]]);
  led.learnerMatch.set(1, 9);
  led.learnerMatch.set(3, 9);
  reports.lookAtCatchingUp();
  t.same(pendingOf(reports), [
    [1, false],
    [3, false],
  ]);
  reports.lookAtCatchingUp();
  t.notOk(reports.pending);
  t.end();
});

t.test('a look takes so many shards, and the next one goes on with the others', (t) => {
  const led = new LedShards(catchingUpShardsMax + 10);
  const reports = new ShardReports(led.replicas(), runtime);
  reports.reset();
  pendingOf(reports);
  for (const shardId of led.learnerMatch.keys()) led.learnerMatch.set(shardId, 9);
  reports.lookAtCatchingUp();
  t.equal(pendingOf(reports).length, catchingUpShardsMax);
  reports.lookAtCatchingUp();
  t.equal(pendingOf(reports).length, 10);
  t.end();
});

t.test('a small shard that lost its keys is news: placement would split it for keys that it no longer has', (t) => {
  const reports = new ShardReports(new LedShards(1).replicas(), runtime);
  reports.reset();
  reports.setSize(1, { bytes: 3_000, keys: 153 });
  pendingOf(reports);
  reports.setSize(1, { bytes: 2_900, keys: 150 });
  t.notOk(reports.pending, 'a few keys of many are none');
  reports.setSize(1, { bytes: 0, keys: 0 });
  t.equal(reports.take(10).shards[0]?.approximateKeys, 0);
  t.end();
});
