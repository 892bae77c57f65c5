import t from 'tap';
import { ClusterView } from '../../placement/cluster_view.js';
import { KeyspaceProgress } from '../../placement/keyspace_progress.js';
import { LeaderTable } from '../../placement/leader_table.js';
import { createResendMs, shardsCreatingMax, shardsPerCreateMax } from '../../placement/limits.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { assert } from '../../src/base/assert.js';
import { hashSplitKeys } from '../../src/base/encoded_key.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';

/** A keyspace that is being created, and what its stores were told to make. */
class Creation {
  readonly state = new ClusterState();
  readonly leaders = new LeaderTable();
  readonly view = new ClusterView({
    state: () => this.state,
    leaders: this.leaders,
    times: { storeDisconnectMs: 3_000, storeDownMs: 10_000 },
    sinceMs: 0,
  });
  readonly progress: KeyspaceProgress;
  readonly completed: number[] = [];
  /** Shards named since the last call of takeNamed(), by store. */
  private named = new Map<number, number[]>();

  constructor(shards: number) {
    const storeIds = ['a', 'b', 'c'].map((address) =>
      this.apply({
        kind: 'registerStore',
        storeId: 0,
        address,
        labels: [],
        version: '',
        engine: 'sim',
        directoryId: address,
      }),
    );
    const keyspace = { name: 'k', partitioning: Partitioning.HASH, replicaCount: 3, initialShards: shards };
    const keyspaceId = this.apply({ kind: 'createKeyspace', ...keyspace });
    const starts = hashSplitKeys(shards);
    const plans = starts.map((startKey, i) => ({ startKey, endKey: starts[i + 1] ?? Buffer.alloc(0), storeIds }));
    this.apply({ kind: 'addShards', keyspaceId, shards: plans });
    this.progress = new KeyspaceProgress({
      view: this.view,
      send: (storeId, command) => {
        assert(command.$case === 'createShards', 'it only tells stores to create');
        const list = this.named.get(storeId) ?? [];
        list.push(...command.value.shards.map((shard) => shard.shardId));
        this.named.set(storeId, list);
      },
      complete: (id) => this.completed.push(id),
    });
  }

  private apply(command: Parameters<ClusterState['apply']>[0]): number {
    const outcome = this.state.apply(command);
    assert(outcome.ok, 'the state takes it');
    return outcome.value;
  }

  /** What each store was told, which is the same for all three. */
  takeNamed(): number[] {
    const [first = [], ...others] = [...this.named.values()];
    for (const other of others) assert(other.join() === first.join(), 'every store is told the same');
    this.named = new Map();
    return first;
  }

  takeNamedTo(storeId: number): number[] {
    const list = this.named.get(storeId) ?? [];
    this.named = new Map();
    return list;
  }

  leads(shardId: number): void {
    this.leaders.set(shardId, { leaderReplicaId: 1, leaderStoreId: 1, term: 1 });
    this.progress.leaderReported(shardId);
  }
}

t.test('a large keyspace is created a bounded number of shards at a time', (t) => {
  const total = shardsCreatingMax * 3 + 7;
  const creation = new Creation(total);
  const known = new Set<number>();
  const waiting: number[] = [];
  let most = 0;
  const take = (): void => {
    for (const shardId of creation.takeNamed()) {
      t.notOk(known.has(shardId), 'no shard is named twice while things move');
      known.add(shardId);
      waiting.push(shardId);
    }
    most = Math.max(most, waiting.length);
  };
  take();
  t.equal(known.size, shardsCreatingMax, 'the first ones');
  while (waiting.length > 0) {
    t.equal(creation.completed.length, 0, 'not complete while one waits');
    creation.leads(waiting.shift() ?? 0);
    take();
  }
  t.equal(known.size, total, 'all in the end');
  t.equal(most, shardsCreatingMax);
  t.equal(creation.completed.length, 1);
  t.end();
});

t.test('more shards are named once there is room for a whole command of them', (t) => {
  const creation = new Creation(shardsCreatingMax * 2);
  const named = creation.takeNamed();
  for (const shardId of named.slice(0, shardsPerCreateMax - 1)) creation.leads(shardId);
  t.same(creation.takeNamed(), [], 'not for a few');
  creation.leads(named[shardsPerCreateMax - 1] ?? 0);
  t.equal(creation.takeNamed().length, shardsPerCreateMax);
  t.end();
});

t.test('when nothing moves, the shards that were named are named again, and no others', (t) => {
  const creation = new Creation(shardsCreatingMax * 2);
  const named = creation.takeNamed();
  creation.leads(named[0] ?? 0);
  creation.view.setTime(createResendMs);
  creation.progress.tick();
  t.same(creation.takeNamed(), named.slice(1));
  t.end();
});

t.test('a store that comes back gets what was named so far and it lacks', (t) => {
  const creation = new Creation(shardsCreatingMax * 2);
  const named = creation.takeNamed();
  creation.leads(named[0] ?? 0);
  creation.progress.storeReturned(2, new Set(named.slice(2)));
  t.same(creation.takeNamedTo(2), named.slice(0, 2), 'those with a leader, too');
  t.end();
});

t.test('a shard whose leader was reported before it was named needs no naming', (t) => {
  const creation = new Creation(shardsCreatingMax + 1);
  const named = creation.takeNamed();
  const last = [...creation.state.shards()].map((s) => s.shardId).find((id) => !named.includes(id)) ?? 0;
  creation.leads(last);
  for (const shardId of named) creation.leads(shardId);
  t.same(creation.takeNamed(), []);
  t.equal(creation.completed.length, 1);
  t.end();
});
