import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { FakeCluster, failure } from '../client/support/fake_cluster.js';
import type { Ended } from './support/run_skerry.js';
import { runSkerry } from './support/run_skerry.js';

t.test('skerry kv', async (t) => {
  const cluster = await FakeCluster.start();
  t.teardown(() => cluster.stop());
  const kv = (args: string[], input?: string | Buffer): Promise<Ended> =>
    runSkerry(['kv', ...args], {
      env: { SKERRY_PLACEMENT: cluster.placement },
      ...(input === undefined ? {} : { input }),
    });

  await t.test('get writes exactly the bytes that set took', async (t) => {
    const set = await kv(['set', 'greeting', 'hällo']);
    t.equal(set.code, exitCodes.ok, set.stderr);
    t.equal(set.stdout.length, 0);
    const get = await kv(['get', 'greeting']);
    t.equal(get.stdout.toString(), 'hällo', 'and no newline that was not there');
    const bytes = Buffer.from([0, 1, 254, 255, 10]);
    await kv(['set', 'binary'], bytes);
    t.same((await kv(['get', 'binary'])).stdout, bytes, 'a value may come from standard input');
    t.equal((await kv(['get', 'binary', '--base64'])).stderr !== '', true, 'with --base64 the key is base64, too');
    const key = Buffer.from('binary').toString('base64');
    t.equal((await kv(['get', key, '--base64'])).stdout.toString(), `${bytes.toString('base64')}\n`);
  });

  await t.test('a key without a value has an exit code of its own', async (t) => {
    const get = await kv(['get', 'nothing']);
    t.equal(get.code, exitCodes.notFound);
    t.match(get.stderr, /no value at key nothing/);
    t.equal(get.stdout.length, 0);
    const exists = await kv(['exists', 'nothing']);
    t.equal(exists.code, exitCodes.notFound);
    t.equal(exists.stdout.toString(), 'false\n');
    await kv(['set', 'something', '']);
    t.equal((await kv(['exists', 'something'])).code, exitCodes.ok);
    t.equal((await kv(['delete', 'something'])).code, exitCodes.ok);
    t.equal((await kv(['exists', 'something', '--output', 'json'])).stdout.toString().includes('false'), true);
  });

  await t.test('an unknown keyspace is not found', async (t) => {
    const run = await kv(['get', 'a', '--keyspace', 'nowhere']);
    t.equal(run.code, exitCodes.notFound);
    t.match(run.stderr, /nowhere.*KEYSPACE_NOT_FOUND/);
  });

  await t.test('an import comes out of an export as it went in, text and bytes', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'skerry-kv-test-'));

    // Real processes take their time on a busy machine.
    t.setTimeout(280_000);
    t.teardown(() => rm(directory, { recursive: true }));
    const lines = Array.from({ length: 500 }, (_, i) => JSON.stringify({ key: `import/${i}`, value: `value ${i}\n` }));
    lines.push(JSON.stringify({ key: 'aW1wb3J0L/8=', value: 'AP8=', encoding: 'base64' }));
    await writeFile(join(directory, 'in'), `${lines.join('\n')}\n\n`);
    const imported = await kv(['import', join(directory, 'in')]);
    t.equal(imported.code, exitCodes.ok, imported.stderr);
    t.match(imported.stderr, /501 records imported/);
    const exported = await kv(['export', join(directory, 'out'), '--prefix', 'import/']);
    t.equal(exported.code, exitCodes.ok, exported.stderr);
    const out = (await readFile(join(directory, 'out'), 'utf8')).trimEnd().split('\n');
    t.same(new Set(out), new Set(lines));
    const piped = await kv(['export', '--prefix', 'import/1', '--base64']);
    const first = JSON.parse(piped.stdout.toString().split('\n')[0] ?? '') as { key: string };
    t.match(Buffer.from(first.key, 'base64').toString(), /^import\/1/);
  });

  await t.test('a line that cannot be imported is named by its number', async (t) => {
    for (const [line, words] of [
      ['{"key": "a"', /line 2 is not JSON/],
      ['{"key": "a"}', /line 2: expected/],
      ['{"key": "a", "value": "b", "more": 1}', /line 2: expected/],
    ] as const) {
      const run = await kv(['import'], `{"key": "k", "value": "v"}\n${line}\n`);
      t.equal(run.code, exitCodes.usage, line);
      t.match(run.stderr, words);
    }
  });

  await t.test('scan prints rows for people and for programs', async (t) => {
    await kv(['set', 'scan/a', 'one']);
    await kv(['set', 'scan/b', 'tab\there']);
    const table = (await kv(['scan', '--prefix', 'scan/'])).stdout.toString().trimEnd().split('\n').sort();
    t.same(table, ['scan/a\tone', 'scan/b\ttab\\x09here']);
    const json = (await kv(['scan', '--prefix', 'scan/', '--output', 'json', '--limit', '1'])).stdout.toString();
    t.match(JSON.parse(json), { key: /^scan/ });
    t.equal((await kv(['scan', '--start', 'a'])).code, exitCodes.usage, 'a hash keyspace has no order to start in');
  });

  await t.test('a write whose fate is not known has an exit code of its own', async (t) => {
    cluster.trick = () => 'ignore';
    // Enough for a process that has yet to connect on a busy machine: only what was sent may be undetermined.
    const run = await kv(['set', 'a', 'b', '--timeout', '6000']);
    t.equal(run.code, exitCodes.undetermined);
    t.match(run.stderr, /may or may not take effect.*UNDETERMINED/);
    const read = await kv(['get', 'a', '--timeout', '1500']);
    t.equal(read.code, exitCodes.unavailable);
    cluster.trick = () =>
      failure('no', { $case: 'clusterMismatch', value: { requestedClusterId: 1, actualClusterId: 2 } });
    t.equal((await kv(['get', 'a'])).code, exitCodes.failure);
    cluster.trick = () => null;
  });
});
