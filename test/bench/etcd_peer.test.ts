import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { compareTargets, keyValueOptions } from '../../bench/support/key_value.js';
import type { Target } from '../../bench/support/key_value.js';
import { etcdOnPath, startEtcdTarget } from '../../bench/support/etcd_target.js';
import { readOptions, UsageError } from '../../bench/support/options.js';
import { packageRoot } from '../../src/cli/playground/package_root.js';

// A guard against hanging, not a measurement: processes start slowly on a busy machine.
t.setTimeout(280_000);

// Looked up before the first test starts: the tests put a stand-in on the PATH.
const noRealEtcd = (await etcdOnPath()) === null && 'no etcd on the PATH; only the stand-in was asked';

/** A test that owns things to be given back at its end. */
interface Owner {
  teardown(fn: () => void): unknown;
}

/** Puts an `etcd` that is our stand-in first on the PATH until the test ends. Returns a directory of the test. */
function withFakeEtcd(t: Owner): string {
  const directory = mkdtempSync(join(tmpdir(), 'skerry-fake-etcd-'));
  const script = join(directory, 'etcd');
  const tsx = join(packageRoot, 'node_modules/tsx/dist/esm/index.mjs');
  const fake = join(packageRoot, 'test/bench/fake_etcd.ts');
  writeFileSync(script, `#!/bin/sh\nexec "${process.execPath}" --import "${tsx}" "${fake}" "$@"\n`);
  chmodSync(script, 0o755);
  const { PATH: path, ETCD_NAME: name } = process.env;
  process.env['PATH'] = `${directory}${delimiter}${path ?? ''}`;
  process.env['ETCD_NAME'] = 'a setting for another etcd';
  process.env['FAKE_LOG'] = join(directory, 'log');
  t.teardown(() => {
    process.env['PATH'] = path;
    if (name === undefined) delete process.env['ETCD_NAME'];
    else process.env['ETCD_NAME'] = name;
    delete process.env['FAKE_LOG'];
    rmSync(directory, { recursive: true });
  });
  return directory;
}

function logged(directory: string): { name: string; puts: number; ranges: number; keys: number }[] {
  const lines = readFileSync(join(directory, 'log'), 'utf8').trim().split('\n');
  return lines
    .map((line) => JSON.parse(line) as { name: string; puts: number; ranges: number; keys: number })
    .sort((a, b) => a.name.localeCompare(b.name));
}

t.test(
  'three members are started from the PATH, the leader takes every put and get, and all of them end',
  async (t) => {
    const directory = withFakeEtcd(t);
    const target = await startEtcdTarget();
    t.equal(target.name, 'etcd 0.0.0-fake');
    const value = Buffer.from([0, 1, 255, 7]);
    for (let i = 0; i < 10; i++) await target.put(`key-${i}`, value);
    t.same(await target.get('key-3'), value, 'bytes come back as they were');
    t.equal(await target.get('no such key'), null);
    const counters = await target.counters();
    for (const name of ['CPU client', 'CPU etcd 1', 'CPU etcd 2', 'CPU etcd 3']) {
      t.ok((counters.get(name) ?? NaN) > 0, `${name} is measured`);
    }
    await target.stop();
    t.same(logged(directory), [
      { name: 'm1', puts: 0, ranges: 0, keys: 0 },
      { name: 'm2', puts: 10, ranges: 2, keys: 10 },
      { name: 'm3', puts: 0, ranges: 0, keys: 0 },
    ]);
    t.notOk(readdirSync(tmpdir()).includes(target.dataDir.slice(tmpdir().length + 1)), 'its data is gone');
  },
);

t.test('the peer runs the same operations in alternating runs, and the report has both and their ratio', async (t) => {
  const directory = withFakeEtcd(t);
  const file = join(directory, 'report.json');
  const names: string[] = [];
  const etcd = await startEtcdTarget();
  /** A second service that only remembers when it was asked. */
  const other: Target = {
    name: 'other',
    dataDir: directory,
    put: () => Promise.resolve(),
    get: () => Promise.resolve(null),
    counters: () => Promise.resolve(new Map([['CPU client', process.cpuUsage().user / 1e6]])),
    figures: () => ({}),
    stop: () => Promise.resolve(),
  };
  const args = ['--clients', '4', '--seconds', '0.2', '--runs', '2', '--warmup', '0', '--json', file];
  const options = readOptions(args, keyValueOptions);
  await compareTargets([other, etcd], 'put', options, async (target, key, value) => {
    if (names.at(-1) !== target.name) names.push(target.name);
    await target.put(key, value);
    await new Promise((resolve) => setImmediate(resolve));
  });
  await etcd.stop();
  t.same(names, ['other', etcd.name, 'other', etcd.name], 'one run of each in turn');
  const report = JSON.parse(readFileSync(file, 'utf8')) as {
    groups: Record<string, Record<string, number>[]>;
    notes: string[];
  };
  t.same(Object.keys(report.groups), ['other', etcd.name]);
  for (const runs of Object.values(report.groups)) {
    t.equal(runs.length, 2);
    for (const run of runs) t.ok((run['puts/s'] ?? 0) > 0 && run['failed operations'] === 0, 'every put succeeded');
  }
  t.match(report.notes.join('\n'), /ratio to etcd 0\.0\.0-fake: puts\/s \d/);
});

t.test('an etcd on the PATH takes and gives back what the benchmark asks of it', { skip: noRealEtcd }, async (t) => {
  const target = await startEtcdTarget();
  t.teardown(() => target.stop());
  t.match(target.name, /^etcd \d+\.\d+/);
  const value = Buffer.from([0, 1, 255, 7]);
  for (let i = 0; i < 10; i++) await target.put(`key-${i}`, value);
  t.same(await target.get('key-3'), value);
  t.equal(await target.get('no such key'), null);
});

t.test('without etcd the benchmark says how to get it', async (t) => {
  const { PATH: path } = process.env;
  process.env['PATH'] = join(tmpdir(), 'no such directory');
  t.teardown(() => (process.env['PATH'] = path));
  await t.rejects(startEtcdTarget(), { name: 'UsageError', message: /not on the PATH.*apt-get install etcd-server/ });
});

t.test('options that make no sense are refused by name, and the command exits with 2', async (t) => {
  for (const [args, message] of [
    [['--clients', '0'], /--clients is a whole number from 1 to 65536, not "0"/],
    [['--clients', '1.5'], /--clients is a whole number/],
    [['--seconds', 'long'], /--seconds is a number from/],
    [['--seconds', ''], /--seconds is a number from/],
    [['--peer', 'redis'], /--peer is one of .*etcd/],
    [['--outstanding', '5'], /--outstanding[^]*options:[^]*--clients/],
    [['positional'], /positional/],
  ] as const) {
    t.throws(() => readOptions(args, keyValueOptions), { name: 'UsageError', message }, args.join(' '));
  }
  t.throws(() => readOptions(['--clients', '0'], keyValueOptions), UsageError);
  const main = join(packageRoot, 'bench/main.ts');
  const code = await new Promise((resolve) =>
    execFile(process.execPath, ['--import', 'tsx', main, 'put', '--bogus', '1'], { cwd: packageRoot }, (error) =>
      resolve(error?.code),
    ),
  );
  t.equal(code, 2);
});
