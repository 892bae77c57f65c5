import t from 'tap';
import type { LocalCluster } from '../../src/cli/playground/local_cluster.js';
import { AdminClient, SkerryClient } from '../../src/client/index.js';
import { parsePolicy } from '../../src/config/placement_policy.js';
import type { ShardStatus } from '../../src/gen/skerry/v1/admin.js';
import { opTimeoutMaxMs } from '../../store/limits.js';
import { OperationsPhases } from './operations_phases.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually, shardId, shardsOf, storesOf } from './support.js';

/**
 * A day in the life of a cluster, under load: a store comes, another is drained, a third dies, shards are split and merged,
 * replicas become five and three again, every placement member is killed and comes back. Few shards in CI; for a long run:
 *
 *     SHARDS=1000 PAUSE_MS=100 npx tsx test/cluster/operations.test.ts
 *
 * PAUSE_MS: rest of each of the 48 writers and readers between two calls; without it they keep two cores busy.
 */
const shardCount = Number(process.env['SHARDS'] ?? 16);
const pauseMs = Number(process.env['PAUSE_MS'] ?? 0);
// The longest that a store lets a call wait: nothing here may take so long but a machine that stands still.
const timeoutMs = opTimeoutMaxMs;
const keyspace = 'default';

// Guards against hanging, not measurements: a busy machine moves thousands of replicas in here.
const patienceMs = 120_000 + shardCount * 600;
t.setTimeout(6 * patienceMs);

/** All shards have `replicas` replicas, none on the stores left out, and a leader. */
async function untilSettled(admin: AdminClient, what: string, replicas: number, without: number[]): Promise<void> {
  const isSettled = (shard: ShardStatus): boolean => {
    const stores = storesOf(shard);
    return stores.length === replicas && !stores.some((id) => without.includes(id)) && shard.route?.leaderStoreId !== 0;
  };
  await eventually(what, async () => ((await shardsOf(admin, keyspace)).every(isSettled) ? true : null), patienceMs);
}

/** The listing hears of new and of merged shards from their leaders, a little later. */
async function untilCount(admin: AdminClient, count: number): Promise<void> {
  await eventually(`${count} shards are listed`, async () =>
    (await shardsOf(admin, keyspace)).length === count ? true : null,
  );
}

/** Placement's leader answers, whoever that is. */
async function untilPlacementLeads(admin: AdminClient): Promise<void> {
  await eventually('the members have a leader', async () => (await admin.clusterStatus().catch(() => null)) ?? null);
}

t.test('stores, shards and placement members come and go under load without a client noticing', async (t) => {
  const cluster = await clusterFor(t, { placements: 3 });
  await cluster.createKeyspace(keyspace, { shards: shardCount });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'day', 48, { pauseMs, timeoutMs });
  load.start();
  await load.ackedMore(200);
  const admin = await AdminClient.connect({ placement: cluster.placementAddresses, timeoutMs: patienceMs });
  t.teardown(() => admin.close());
  const phases = new OperationsPhases(admin, keyspace, load, (line) => t.comment(line));
  const day: Day = { cluster, admin, load, phases, say: (line) => t.comment(line) };
  await phases.begin();

  await addFourthStore(day);
  t.pass('a fourth store takes its share');
  await drainFirstStore(day);
  t.pass('a store is drained and stopped');
  await killSecondStore(day);
  t.pass('a store is killed and comes back');
  await splitAndMerge(day);
  t.pass('shards are split and merged again');
  await fiveReplicasAndThree(day);
  t.pass('with five stores, shards have five replicas, and three again');
  await restartPlacement(day);
  t.pass('every placement member was killed and came back');

  await load.ackedMore(100);
  const report = await load.stop();
  t.same(report.violations, [], 'no read was stale and no acknowledged write is missing');
  t.same([...report.failures], [], 'no operation failed');
  t.comment(`${report.writes} writes, ${report.reads} reads, longest gap ${Math.round(report.longestGapMs)} ms`);
});

interface Day {
  readonly cluster: LocalCluster;
  readonly admin: AdminClient;
  readonly load: RegisterLoad;
  readonly phases: OperationsPhases;
  readonly say: (line: string) => void;
}

function idOf({ cluster }: Day, at: number): number {
  return cluster.stores[at]?.ready.storeId ?? 0;
}

async function addFourthStore({ cluster, admin, phases }: Day): Promise<void> {
  const fourth = await cluster.addStore();
  await eventually(
    'the new store holds its share',
    async () => {
      const held = (await shardsOf(admin, keyspace)).filter((s) => storesOf(s).includes(fourth.ready.storeId ?? 0));
      return held.length >= shardCount * 0.6 ? true : null;
    },
    patienceMs,
  );
  await phases.end('a fourth store');
}

async function drainFirstStore(day: Day): Promise<void> {
  const { cluster, admin, load, phases } = day;
  const first = idOf(day, 0);
  await admin.drainStore(first);
  await untilSettled(admin, 'the drained store is empty', 3, [first]);
  await phases.end('a drain');
  await cluster.stores[0]?.stop();
  await load.ackedMore(200);
}

async function killSecondStore({ cluster, load, phases }: Day): Promise<void> {
  await cluster.stores[1]?.kill('SIGKILL');
  await load.ackedMore(200);
  await cluster.stores[1]?.start();
  await load.ackedMore(200);
  await phases.end('a stop, a kill and a return');
}

async function splitAndMerge({ admin, load, phases }: Day): Promise<void> {
  const before = await shardsOf(admin, keyspace);
  const split = before.slice(0, 4).map(shardId);
  for (const id of split) await insist(`shard ${id} is split`, () => splitInTwo(admin, id));
  await untilCount(admin, before.length + split.length);
  await load.ackedMore(100);
  await phases.end('splits');
  for (const id of split) await insist(`shard ${id} is merged`, () => mergeWithRightNeighbour(admin, id));
  await untilCount(admin, before.length);
  await load.ackedMore(100);
  await phases.end('merges');
}

async function fiveReplicasAndThree(day: Day): Promise<void> {
  const { cluster, admin, load, phases } = day;
  await cluster.stores[0]?.start();
  await admin.drainStore(idOf(day, 0), true);
  await cluster.addStore();
  await admin.setKeyspacePolicy(keyspace, parsePolicy('voters: 5'), false);
  await untilSettled(admin, 'every shard has five replicas', 5, []);
  await phases.end('from three replicas to five');
  await load.ackedMore(200);
  await admin.setKeyspacePolicy(keyspace, parsePolicy('voters: 3'), false);
  await untilSettled(admin, 'every shard has three replicas again', 3, []);
  await phases.end('from five to three');
  await load.ackedMore(200);
}

async function restartPlacement({ cluster, admin, load, phases, say }: Day): Promise<void> {
  for (const member of cluster.placements) {
    const killedMs = performance.now();
    await member.kill('SIGKILL');
    await untilPlacementLeads(admin);
    say(`${member.name} was killed: placement answers ${Math.round(performance.now() - killedMs)} ms later`);
    await load.ackedMore(100);
    await member.start();
    await untilPlacementLeads(admin);
  }
  await phases.end('restarts of placement');
}

/** The balancer may be at work on the shard: then the change is refused, and asked for again until it is done. */
async function insist(what: string, attempt: () => Promise<unknown>): Promise<void> {
  let refusal: unknown = null;
  try {
    await eventually(
      what,
      async () => {
        try {
          await attempt();
          return true;
        } catch (error) {
          refusal = error;
          return null;
        }
      },
      patienceMs,
    );
  } catch (error) {
    throw new Error(`${String(error)}: ${String(refusal)}`, { cause: error });
  }
}

async function splitInTwo(admin: AdminClient, id: number): Promise<void> {
  // A middle key needs rows; in a hash keyspace a boundary between slots does as well.
  const shard = (await admin.getShard(id)).route?.shard;
  const tokenOf = (bound: Uint8Array | undefined, open: number): number =>
    bound === undefined || bound.length === 0 ? open : Buffer.from(bound).readUInt16BE(0);
  const splitKey = Buffer.alloc(2);
  splitKey.writeUInt16BE(Math.floor((tokenOf(shard?.startKey, 0) + tokenOf(shard?.endKey, 0x10000)) / 8) * 4);
  await admin.splitShard({ shardId: id, splitKey, wait: true });
}

async function mergeWithRightNeighbour(admin: AdminClient, id: number): Promise<void> {
  const shards = await shardsOf(admin, keyspace);
  const endKey = Buffer.from(shards.find((shard) => shardId(shard) === id)?.route?.shard?.endKey ?? []);
  const right = shards.find((shard) => endKey.equals(Buffer.from(shard.route?.shard?.startKey ?? [])));
  if (right === undefined || endKey.length === 0) throw new Error(`shard ${id} has no right neighbour`);
  await admin.mergeShards({ shardId: shardId(right), targetShardId: id, wait: true });
}
