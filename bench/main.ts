import { UsageError } from './support/options.js';

/**
 * Benchmarks: `npm run bench -- WORKLOAD [options]`. Every workload prints the machine's shape, medians with
 * their spread over runs, and a ratio against something measured beside it in the same run.
 * Speed is measured here and never asserted in tests.
 */
type Workload = (args: string[]) => Promise<void>;

const workloads: Readonly<Record<string, { about: string; load: () => Promise<Workload> }>> = Object.freeze({
  put: { about: 'durable puts through a local cluster', load: async () => (await import('./put.js')).run },
  get: { about: 'linearizable gets from a local cluster', load: async () => (await import('./get.js')).run },
  groups: { about: 'what active and idle shards cost', load: async () => (await import('./groups.js')).run },
  failover: {
    about: 'kill -9 of a store, until all shards take writes',
    load: async () => (await import('./failover.js')).run,
  },
  rebalance: {
    about: 'a store comes, another is drained',
    load: async () => (await import('./rebalance.js')).run,
  },
  restart: { about: 'start of a store with many shards', load: async () => (await import('./restart.js')).run },
  mixed: { about: 'YCSB A to F on a local cluster', load: async () => (await import('./mixed.js')).run },
  overload: {
    about: 'three times what a local cluster sustains',
    load: async () => (await import('./overload.js')).run,
  },
  soak: { about: 'memory, latency and disk over time', load: async () => (await import('./soak.js')).run },
  raftlog: { about: 'the Raft log alone', load: async () => (await import('./raftlog.js')).run },
  'raft-core': { about: 'the Raft core alone, without I/O', load: async () => (await import('./raft_core.js')).run },
  multiraft: {
    about: 'many groups on three hosts, without I/O',
    load: async () => (await import('./multiraft.js')).run,
  },
  engine: { about: 'the KV engine alone', load: async () => (await import('./engine.js')).run },
  placement: { about: 'placement decisions, without I/O', load: async () => (await import('./placement.js')).run },
  'peer-frames': {
    about: 'what a frame between two hosts costs',
    load: async () => (await import('./peer_frames.js')).run,
  },
  snapshot: {
    about: 'a shard from one process to another',
    load: async () => (await import('./snapshot.js')).run,
  },
});

const [name = '', ...args] = process.argv.slice(2);
const workload = workloads[name];
if (workload === undefined) {
  console.error(`usage: npm run bench -- WORKLOAD [options]\n`);
  for (const [key, { about }] of Object.entries(workloads)) console.error(`  ${key.padEnd(10)} ${about}`);
  process.exit(2);
}
const run = await workload.load();
try {
  await run(args);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exit(2);
}
