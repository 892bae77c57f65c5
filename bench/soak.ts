import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '../src/base/prng.js';
import { BenchCluster } from './support/bench_cluster.js';
import { figuresOf, keepOutstanding, keepRate } from './support/drive.js';
import { openLoopOutstandingMax } from './support/limits.js';
import { readOptions } from './support/options.js';
import { Report } from './support/report.js';

/**
 * `npm run bench -- soak --minutes 15`: half puts, half gets at a share of what the cluster sustains, in windows. Memory, latency and disk of
 * each window are in the report; the note compares the last third of the windows with the second, since the first fills caches and logs.
 */
const specs = {
  minutes: { kind: 'number', about: 'how long', default: 15, min: 0.1, max: 10_000 },
  share: { kind: 'number', about: 'of the measured load', default: 0.7, min: 0.01, max: 1 },
  window: { kind: 'number', about: 'seconds of a window', default: 15, min: 1, max: 3_600 },
  clients: { kind: 'integer', about: 'outstanding while the load is measured', default: 256, min: 1, max: 65_536 },
  shards: { kind: 'integer', about: 'shards', default: 64, min: 1, max: 16_384 },
  keys: { kind: 'integer', about: 'distinct keys', default: 20_000, min: 1, max: 100_000_000 },
  value: { kind: 'integer', about: 'bytes of a value', default: 256, min: 0, max: 1_048_576 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/soak.json' },
} as const;

const mib = 2 ** 20;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('soak', options);
  const cluster = await BenchCluster.start();
  try {
    await cluster.createKeyspace({ shards: options.shards });
    const client = await cluster.connect();
    try {
      const prng = new Prng(1);
      const value = randomBytes(options.value);
      const operate = (): Promise<unknown> => {
        const key = `user${prng.int(0, options.keys - 1)}`;
        return prng.chance(0.5) ? client.set(key, value) : client.get(key);
      };
      await keepOutstanding(options.clients, 3, operate);
      const peak = await keepOutstanding(options.clients, 10, operate);
      const rate = (peak.done / peak.seconds) * options.share;
      console.log(`${Math.round(peak.done / peak.seconds)} operations/s sustained; going on with ${Math.round(rate)}`);
      const windows = Math.max(3, Math.round((options.minutes * 60) / options.window));
      for (let i = 0; i < windows; i++) {
        const driven = await keepRate(rate, options.window, openLoopOutstandingMax, operate);
        if (driven.firstError !== null) console.log(`an operation failed: ${driven.firstError}`);
        const third = Math.min(2, Math.floor((i * 3) / windows));
        const resident = Object.entries(cluster.memory()).map(([n, b]): [string, number] => [
          `resident ${n} MiB`,
          b / mib,
        ]);
        report.add(['first third', 'second third', 'last third'][third] ?? '', {
          ...figuresOf(driven, 'operations'),
          ...Object.fromEntries(resident),
          'resident client MiB': process.memoryUsage.rss() / mib,
          'disk of all servers MiB': treeBytes(cluster.local.dataDir) / mib,
        });
      }
    } finally {
      client.close();
    }
  } finally {
    await cluster.stop();
  }
  for (const figure of ['p50 ms', 'p99 ms', 'resident store 1 MiB', 'disk of all servers MiB']) {
    const [second, last] = ['second third', 'last third'].map((group) => report.median(group, figure));
    report.note(`${figure}, last third beside the second: ${((last ?? NaN) / (second ?? NaN)).toFixed(2)}`);
  }
  report.finish(options.json);
}

/** Bytes of all files below a directory. */
function treeBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    // A file may be deleted between the listing and this.
    bytes += entry.isDirectory() ? treeBytes(path) : (statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  }
  return bytes;
}
