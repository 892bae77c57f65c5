import { randomBytes } from 'node:crypto';
import { Prng } from '../../src/base/prng.js';
import type { Counters } from './bench_cluster.js';
import { cpuFigures } from './bench_cluster.js';
import type { Driven } from './drive.js';
import { figuresOf, keepOutstanding } from './drive.js';
import { startEtcdTarget } from './etcd_target.js';
import type { OptionsOf } from './options.js';
import { rawSyncsPerSecond } from './raw_sync.js';
import { Report } from './report.js';
import { startSkerryTarget } from './skerry_target.js';

/** A key-value service under load: ours, or a peer's. Three members with fsync on a majority before each acknowledgement. */
export interface Target {
  readonly name: string;
  /** Where it keeps its data. */
  readonly dataDir: string;
  put(key: string, value: Buffer): Promise<unknown>;
  /** Linearizable. */
  get(key: string): Promise<unknown>;
  /** CPU seconds per process, and what else it counts. */
  counters(): Promise<Counters>;
  /** Its own figures of a run, from its counters before and after. */
  figures(before: Counters, after: Counters, driven: Driven): Record<string, number>;
  stop(): Promise<void>;
}

export const keyValueOptions = {
  clients: { kind: 'integer', about: 'operations outstanding', default: 256, min: 1, max: 65_536 },
  shards: { kind: 'integer', about: 'shards', default: 64, min: 1, max: 16_384 },
  value: { kind: 'integer', about: 'bytes of a value', default: 256, min: 0, max: 1_048_576 },
  keys: { kind: 'integer', about: 'distinct keys', default: 100_000, min: 1, max: 100_000_000 },
  seconds: { kind: 'number', about: 'seconds of a run', default: 10, min: 0.1, max: 86_400 },
  warmup: { kind: 'number', about: 'seconds before the first run of each target', default: 3, min: 0, max: 3_600 },
  runs: { kind: 'integer', about: 'runs of each target', default: 3, min: 1, max: 1_000 },
  peer: { kind: 'text', about: 'also measure this service beside it', default: '', among: ['', 'etcd'] },
  'data-dir': { kind: 'text', about: 'directory for the cluster; default: a temporary one', default: '' },
  json: { kind: 'text', about: 'file for the report', default: '' },
} as const;

export type KeyValueOptions = OptionsOf<typeof keyValueOptions>;

type Work = (target: Target, key: string, value: Buffer) => Promise<unknown>;

/** Runs one kind of operation against a cluster, and against the peer in alternating runs if one is asked for. */
export async function compareWithPeer(what: 'put' | 'get', options: KeyValueOptions, work: Work): Promise<void> {
  const { clients, shards, value, peer } = options;
  console.log(
    `${what}: ${clients} outstanding, ${shards} shards, ${value}-byte values, 3 replicas, synced on a majority`,
  );
  const targets: Target[] = [];
  try {
    // The peer first: where it is not installed, this is said before anything else is done.
    if (peer === 'etcd') targets.push(await startEtcdTarget());
    targets.unshift(await startSkerryTarget(options));
    await compareTargets(targets, what, options, work);
  } finally {
    for (const target of targets) await target.stop();
  }
}

/** Runs one kind of operation against each target in alternating runs, and reports. The second one is the first one's peer. */
export async function compareTargets(
  targets: readonly Target[],
  what: 'put' | 'get',
  options: KeyValueOptions,
  work: Work,
): Promise<void> {
  const report = new Report(what, options);
  for (const target of targets) await prepare(what, target, options, work);
  for (let run = 0; run < options.runs; run++) {
    for (const target of targets) report.add(target.name, await measure(target, options, work, what));
  }
  await conclude(report, what, targets, options);
}

/** Fills what gets will read, and warms up code, caches and routes. */
async function prepare(what: 'put' | 'get', target: Target, options: KeyValueOptions, work: Work): Promise<void> {
  const value = randomBytes(options.value);
  if (what === 'get') {
    let next = 0;
    const fill = async (): Promise<void> => {
      while (next < options.keys) await target.put(keyOf(next++), value);
    };
    await Promise.all(Array.from({ length: 256 }, fill));
  }
  if (options.warmup > 0) await drive(target, options, work, options.warmup);
}

function drive(target: Target, options: KeyValueOptions, work: Work, seconds: number): Promise<Driven> {
  const value = randomBytes(options.value);
  const prng = new Prng(Math.floor(performance.now()));
  return keepOutstanding(options.clients, seconds, () => work(target, keyOf(prng.int(0, options.keys - 1)), value));
}

async function measure(
  target: Target,
  options: KeyValueOptions,
  work: Work,
  what: string,
): Promise<Record<string, number>> {
  const before = await target.counters();
  const driven = await drive(target, options, work, options.seconds);
  const after = await target.counters();
  if (driven.firstError !== null) console.log(`${target.name}: an operation failed: ${driven.firstError}`);
  return {
    ...figuresOf(driven, `${what}s`),
    ...target.figures(before, after, driven),
    ...cpuFigures(before, after, driven.seconds, driven.done, what),
  };
}

async function conclude(
  report: Report,
  what: string,
  targets: readonly Target[],
  options: KeyValueOptions,
): Promise<void> {
  const [ours, peer] = targets;
  if (ours === undefined) return;
  const rate = `${what}s/s`;
  const raw = await rawSyncsPerSecond(ours.dataDir, 2000);
  report.note(`fdatasync of 4 KiB in one file beside it: ${Math.round(raw).toLocaleString('en-US')}/s`);
  report.note(`${what}s per such sync: ${(report.median(ours.name, rate) / raw).toFixed(2)}`);
  const busy = report.median(ours.name, 'CPU all cores');
  report.note(`${ours.name} used ${busy.toFixed(2)} cores; what is left of the machine it waited for, or others had`);
  if (peer !== undefined) {
    const ratio = (figure: string): string =>
      (report.median(ours.name, figure) / report.median(peer.name, figure)).toFixed(2);
    report.note(`ratio to ${peer.name}: ${rate} ${ratio(rate)}, p50 ${ratio('p50 ms')}, p99 ${ratio('p99 ms')}`);
  }
  report.finish(options.json === '' ? `bench-results/${what}-${options.clients}x${options.shards}.json` : options.json);
}

function keyOf(number: number): string {
  return `user${number}`;
}
