import t from 'tap';
import { distinctHosts, distinctValues } from '../../placement/isolation.js';
import { placeInitially } from '../../placement/initial_placement.js';
import { plainRules } from '../../placement/rules/placement_rules.js';
import type { StoreLoad } from '../../placement/store_loads.js';

interface Case {
  readonly name: string;
  /** Labels and weight of each store. */
  readonly stores: readonly { labels?: Record<string, string>; weight?: number; leaders?: number }[];
  readonly shards: number;
  readonly replicaCount?: number;
  /** Allowed difference between the largest and the smallest share, per unit of weight. */
  readonly spread?: number;
  readonly zones?: number;
}

function loadsOf(stores: Case['stores']): StoreLoad[] {
  return stores.map(({ labels = {}, weight = 1, leaders = 0 }, i) => ({
    store: {
      storeId: i + 1,
      address: '',
      labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
      state: 'up',
      version: '',
      engine: '',
      directoryId: '',
    },
    weight,
    replicas: 0,
    bytes: 0,
    leaders,
    work: 0,
    incoming: 0,
    outgoing: 0,
    transfers: 0,
    acceptsReplicas: true,
    acceptsLeaders: true,
  }));
}

function same(count: number, store: Case['stores'][number] = {}): Case['stores'] {
  return Array.from({ length: count }, () => store);
}

const cases: readonly Case[] = [
  { name: '256 shards on three stores', stores: same(3), shards: 256 },
  { name: '256 shards on four stores', stores: same(4), shards: 256 },
  { name: '3,000 shards on seven stores', stores: same(7), shards: 3_000 },
  { name: '16,384 shards on nine stores', stores: same(9), shards: 16_384 },
  { name: 'more stores than replicas', stores: same(50), shards: 4 },
  { name: 'one replica', stores: same(5), shards: 23, replicaCount: 1 },
  { name: 'five replicas', stores: same(8), shards: 40, replicaCount: 5 },
  {
    name: 'three zones of two stores',
    stores: ['x', 'x', 'y', 'y', 'z', 'z'].map((zone) => ({ labels: { zone } })),
    shards: 256,
    zones: 3,
  },
  {
    name: 'three hosts of two stores',
    stores: ['a', 'a', 'b', 'b', 'c', 'c'].map((host) => ({ labels: { host } })),
    shards: 256,
  },
  { name: 'a store of half the size', stores: [{ weight: 0.5 }, ...same(4)], shards: 400, spread: 3 },
];

for (const { name, stores, shards, replicaCount = 3, spread = 1, zones = 0 } of cases) {
  t.test(`${name}: replicas and first leaders are even, hosts apart`, async (t) => {
    const loads = loadsOf(stores);
    const placed = placeInitially({ seed: name, shards, rules: plainRules(replicaCount), loads });
    if (placed === null) throw new Error('too few hosts');
    t.equal(placed.length, shards);
    const records = placed.map((ids) => ids.flatMap((id) => loads[id - 1]?.store ?? []));
    t.ok(
      records.every((r) => distinctHosts(r) === replicaCount),
      'no two replicas of a shard on one host',
    );
    if (zones > 0)
      t.ok(
        records.every((r) => distinctValues(r, 'zone') === zones),
        'every zone has one',
      );
    const share = (counted: (ids: readonly number[], id: number) => boolean): number[] =>
      loads.map((l) => placed.filter((ids) => counted(ids, l.store.storeId)).length / l.weight);
    for (const shares of [share((ids, id) => ids.includes(id)), share((ids, id) => ids[0] === id)]) {
      const difference = Math.max(...shares) - Math.min(...shares);
      t.ok(difference <= spread, `shares ${shares.map(Math.round).join(' ')}`);
    }
  });
}

t.test('fewer hosts than replicas are too few', async (t) => {
  const twoHosts = ['a', 'a', 'b'].map((host) => ({ labels: { host } }));
  t.equal(placeInitially({ seed: '', shards: 1, rules: plainRules(3), loads: loadsOf(twoHosts) }), null);
  t.equal(placeInitially({ seed: '', shards: 1, rules: plainRules(1), loads: [] }), null);
});

t.test('the same keyspace on the same stores is placed alike', async (t) => {
  const place = (seed: string): unknown =>
    placeInitially({ seed, shards: 64, rules: plainRules(3), loads: loadsOf(same(5)) });
  t.same(place('a'), place('a'));
  t.notSame(place('a'), place('b'), 'and another one differently');
});

t.test('keyspaces of one shard do not all lead on one store', async (t) => {
  const loads = loadsOf(same(3));
  const leaders = Array.from({ length: 9 }, (_, i) => {
    const placed = placeInitially({ seed: `ks-${i}`, shards: 1, rules: plainRules(3), loads });
    const first = placed?.[0]?.[0] ?? 0;
    const load = loads[first - 1];
    if (load !== undefined) load.leaders++;
    return first;
  });
  t.same(
    [1, 2, 3].map((id) => leaders.filter((l) => l === id).length),
    [3, 3, 3],
  );
});
