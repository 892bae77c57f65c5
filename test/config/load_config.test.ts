import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { z } from 'zod';
import { ConfigError, configKeys } from '../../src/base/config_schema.js';
import { editDistance, nearest } from '../../src/base/config_nearest.js';
import { addConfigFlags, loadConfig } from '../../src/config/load_config.js';

const schema = z.object({
  dataDir: z.string().min(1).describe('Where the data lives'),
  placement: z.array(z.string()).min(1),
  labels: z.record(z.string(), z.string()).default({}),
  verbose: z.boolean().default(false),
  raft: z
    .object({ tickMs: z.number().int().positive().default(100), electionTicks: z.number().default(10) })
    .prefault({}),
});

function load(argv: readonly string[], environment: Record<string, string> = {}) {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  addConfigFlags(command, schema);
  command.parse([...argv], { from: 'user' });
  return loadConfig({ schema, environmentPrefix: 'SKERRY_STORE_', environment, flags: command.opts() });
}

function problemsOf(fn: () => unknown): readonly string[] {
  try {
    fn();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('no ConfigError was thrown');
}

t.test('a key has one spelling each for file, environment and flag', async (t) => {
  const key = configKeys(schema).find((k) => k.path.join() === 'raft,tickMs');
  t.match(key, { name: 'raft.tick_ms', environment: 'RAFT_TICK_MS', flag: 'raft-tick-ms', kind: 'number' });
});

t.test('a flag wins over the environment, the environment over the file, the file over the default', async (t) => {
  const file = join(
    t.testdir({ 'store.yaml': 'data_dir: /file\nplacement: [p1, p2]\nraft: { tick_ms: 1, election_ticks: 3 }\n' }),
    'store.yaml',
  );
  const config = load(['--config', file, '--data-dir', '/flag'], {
    SKERRY_STORE_DATA_DIR: '/environment',
    SKERRY_STORE_RAFT_TICK_MS: '50',
    UNRELATED: 'x',
  });
  t.same(config, {
    dataDir: '/flag',
    placement: ['p1', 'p2'],
    labels: {},
    verbose: false,
    raft: { tickMs: 50, electionTicks: 3 },
  });
});

t.test('the environment may name the file', async (t) => {
  const file = join(t.testdir({ 'a.yaml': 'data_dir: /a\nplacement: [p]\n' }), 'a.yaml');
  t.equal(load([], { SKERRY_STORE_CONFIG: file }).dataDir, '/a');
});

t.test('lists, maps and booleans can be written as flags', async (t) => {
  const config = load(['--data-dir', 'd', '--placement', 'a:1, b:2', '--labels', 'host=h1,zone=z', '--verbose']);
  t.same(config.placement, ['a:1', 'b:2']);
  t.same(config.labels, { host: 'h1', zone: 'z' });
  t.equal(config.verbose, true);
});

t.test('an unknown key of the file is refused and the nearest known one is named', async (t) => {
  const file = join(t.testdir({ 'a.yaml': 'data_dirr: x\nraft: { tick_m: 1 }\nnonsense_altogether: 1\n' }), 'a.yaml');
  t.same(
    problemsOf(() => load(['--config', file])),
    [
      `${file}: unknown key data_dirr; did you mean data_dir?`,
      `${file}: unknown key raft.tick_m; did you mean raft.tick_ms?`,
      `${file}: unknown key nonsense_altogether`,
    ],
  );
});

t.test('an unknown variable with the prefix is refused and the nearest known one is named', async (t) => {
  t.same(
    problemsOf(() => load([], { SKERRY_STORE_DATADIR: 'x' })),
    ['environment: unknown key SKERRY_STORE_DATADIR; did you mean SKERRY_STORE_DATA_DIR?'],
  );
});

t.test('an unknown flag is refused', async (t) => {
  t.throws(() => load(['--data-dirr', 'x']), { code: 'commander.unknownOption' });
});

t.test('a bad value is refused with the key and where it came from', async (t) => {
  const problems = problemsOf(() => load(['--data-dir', 'd', '--placement', 'p', '--raft-tick-ms', 'soon']));
  t.equal(problems.length, 1);
  t.match(problems[0], /^raft\.tick_ms: .*\(from --raft-tick-ms\)$/);
});

t.test('a missing key is named with the ways to give it', async (t) => {
  t.same(
    problemsOf(() => load(['--placement', 'p'])),
    ['data_dir: is required; give --data-dir or set it in the file'],
  );
});

t.test('a section that is no mapping, a file that is no YAML and a file that is not there are refused', async (t) => {
  const dir = t.testdir({ 'a.yaml': 'raft: 7\n', 'b.yaml': 'a: [\n' });
  t.match(problemsOf(() => load(['--config', join(dir, 'a.yaml')]))[0], /raft must be a mapping/);
  t.match(problemsOf(() => load(['--config', join(dir, 'b.yaml')]))[0], /cannot read the configuration file/);
  t.match(problemsOf(() => load(['--config', join(dir, 'c.yaml')]))[0], /ENOENT/);
  writeFileSync(join(dir, 'empty.yaml'), '');
  t.equal(load(['--config', join(dir, 'empty.yaml'), '--data-dir', 'd', '--placement', 'p']).dataDir, 'd');
});

t.test('edit distance counts single letter changes and far names have no nearest', async (t) => {
  t.equal(editDistance('kitten', 'sitting'), 3);
  t.equal(editDistance('', 'abc'), 3);
  t.equal(nearest('tick_msx', ['tick_ms', 'data_dir']), 'tick_ms');
  t.equal(nearest('zzzzzz', ['tick_ms', 'data_dir']), null);
});
