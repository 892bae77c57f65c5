import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.js';
import { Partitioning, ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import { ShardReport } from '../src/gen/skerry/v1/placement.js';
import { ClusterView } from '../placement/cluster_view.js';
import { LeaderTable } from '../placement/leader_table.js';
import { ClusterState } from '../placement/state/cluster_state.js';
import { toShardRecord } from '../placement/state/records.js';
import { evenCluster } from '../test/placement/simulator/even_cluster.js';
import { printCases } from '../test/placement/simulator/print_cases.js';
import { machineShape } from './support/process_cpu.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * Placement alone, on virtual time and without I/O:
 * `npm run bench -- placement [--case NAME | --none] [--shards N] [--rounds R] [--heartbeats N]`.
 *
 * Cases: what happens to a cluster and how it ends, with the moves that were made beside the fewest that lead to the same end.
 * Decisions: CPU time of one tick and one round of the schedulers, together, in a cluster of N shards on ten stores while it is at
 * rest and while an eleventh store is filled. Heartbeats: N shard reports, decoded from bytes as they come, and what
 * holding them and their descriptors takes.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      case: { type: 'string' },
      none: { type: 'boolean', default: false },
      shards: { type: 'string', default: '100000' },
      rounds: { type: 'string', default: '200' },
      heartbeats: { type: 'string', default: '1000000' },
    },
  });
  console.log(machineShape());
  if (!values.none) printCases(values.case);
  printDecisions(Number(values.shards), Number(values.rounds));
  printHeartbeats(Number(values.heartbeats));
  return Promise.resolve();
}

const stores = 10;

/** CPU time, not time by the clock: on a shared machine the clock also counts what others do. */
function printDecisions(shards: number, rounds: number): void {
  const costsMs: number[] = [];
  const timed = (what: 'tick' | 'round', decide: () => void): void => {
    const before = process.cpuUsage();
    decide();
    const { user, system } = process.cpuUsage(before);
    const ms = (user + system) / 1_000;
    // A round follows the tick of the same moment.
    if (what === 'round') costsMs[costsMs.length - 1] = (costsMs.at(-1) ?? 0) + ms;
    else costsMs.push(ms);
  };
  const cluster = evenCluster({ stores, shards }, { timed });
  const measure = (what: string): void => {
    costsMs.length = 0;
    cluster.run(rounds * 2);
    // Every other tick has a round of the schedulers: those are the long ones.
    const decisions = costsMs.filter((_, i) => i % 2 === 1).sort((a, b) => a - b);
    const p99 = must(decisions[Math.floor(decisions.length * 0.99)], 'a decision');
    console.log(`  ${what}: ${showSpread(spreadOf(decisions), 2)} ms of CPU, p99 ${p99.toFixed(2)} ms`);
  };
  console.log(`\ndecisions, ${shards} shards on ${stores} stores, ${rounds} rounds, median (min to max)`);
  measure('at rest');
  cluster.addStore();
  measure('filling a new store');
}

function printHeartbeats(count: number): void {
  const state = new ClusterState();
  const times = { storeDisconnectMs: 10_000, storeDownMs: 1_800_000 };
  const view = new ClusterView({ state: () => state, leaders: new LeaderTable(), times, sinceMs: 0 });
  const rssBefore = process.memoryUsage.rss();
  const before = process.cpuUsage();
  for (let at = 0; at < count; at++) {
    const report = ShardReport.decode(reportBytes(at));
    state.restoreShard(must(toShardRecord(must(report.shard, 'a shard')), 'an epoch'));
    view.shardReport(report.leaderReplicaId % 16, report);
  }
  const { user, system } = process.cpuUsage(before);
  const { heapUsed, external, rss } = process.memoryUsage();
  const mebibytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
  console.log(`\nheartbeats of ${count} shards, three replicas each`);
  console.log(`  ${((user + system) / count).toFixed(1)} us of CPU each, decoding included`);
  console.log(
    `  heap ${mebibytes(heapUsed)}, buffers ${mebibytes(external)}, resident ${mebibytes(rss)} (${mebibytes(rssBefore)} before)`,
  );
}

const shardsPerKeyspace = 16_384;

function reportBytes(at: number): Uint8Array {
  const shardId = 1 + at * 4;
  const key = (position: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(position);
    return bytes;
  };
  const storeOf = (i: number): number => 1 + ((at + i * 5) % 15);
  const replicas = [1, 2, 3].map((i) => ({ replicaId: shardId + i, storeId: storeOf(i), role: ReplicaRole.VOTER }));
  return ShardReport.encode({
    shard: {
      shardId,
      keyspaceId: 1 + Math.floor(at / shardsPerKeyspace),
      partitioning: Partitioning.RANGE,
      startKey: key(at),
      endKey: key(at + 1),
      merge: undefined,
      epoch: { confVer: 1, version: 1 },
      replicas,
    },
    leaderReplicaId: shardId + 1,
    term: 6,
    progress: replicas.map(({ replicaId }) => ({ replicaId, down: false, pending: false, matchIndex: at })),
    approximateBytes: 1_000_000 + at,
    approximateKeys: 1_000,
    sizeKnown: true,
    readsPerS: at % 100,
    writesPerS: at % 50,
  }).finish();
}
