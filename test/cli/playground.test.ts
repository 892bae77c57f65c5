import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { freePorts } from '../../src/cli/playground/free_ports.js';
import { ended, runSkerry, skerryInShell, startSkerry } from './support/run_skerry.js';

// Real processes take their time on a busy machine.
t.setTimeout(280_000);

/** Pids of the servers, from what the playground says at its start. */
function pidsIn(stderr: string): number[] {
  return [...stderr.matchAll(/\(pid (\d+)/g)].map((match) => Number(match[1]));
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Looks every 50 ms; the test's own timeout ends a wait in vain. */
async function gone(pids: readonly number[]): Promise<void> {
  while (pids.some(runs)) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Resolves with all that was said so far once it contains the words. */
function said(child: ChildProcess, words: string): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes(words)) resolve(text);
    });
    child.once('close', () => reject(new Error(`it ended before it said "${words}":\n${text}`)));
  });
}

t.test(
  'a playground runs a command against a real cluster, ends with its code, and leaves nothing running',
  async (t) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skerry-playground-test-'));
    t.teardown(() => rm(dataDir, { recursive: true }));
    const skerry = skerryInShell();
    const playground = (command: string) =>
      runSkerry(['playground', '--shards', '6', '--data-dir', dataDir, '--exec', command]);

    const first = await playground(`${skerry} kv set kept yes && ${skerry} shard list --output json; exit 7`);
    t.equal(first.code, 7, first.stderr);
    const shards = JSON.parse(first.stdout.toString()) as {
      leaderStoreId: number;
      replicas: { storeId: number; role: string }[];
    }[];
    t.equal(shards.length, 6);
    for (const { replicas } of shards) {
      t.same(new Set(replicas.map((r) => r.storeId)), new Set([1, 2, 3]));
      t.ok(replicas.every((r) => r.role === 'voter'));
    }
    const led = [1, 2, 3].map((storeId) => shards.filter((s) => s.leaderStoreId === storeId).length);
    t.ok(
      led.every((count) => count >= 1 && count <= 3),
      `leaders are spread: ${led.join(', ')}`,
    );
    const pids = pidsIn(first.stderr);
    t.equal(pids.length, 4);
    t.same(pids.filter(runs), []);

    const second = await playground(`${skerry} kv get kept`);
    t.equal(second.code, 0, second.stderr);
    t.equal(second.stdout.toString(), 'yes', 'a data directory that was named is kept');
  },
);

t.test('on SIGTERM everything stops and the temporary data directory is removed', async (t) => {
  const temporary = await mkdtemp(join(tmpdir(), 'skerry-playground-test-'));
  t.teardown(() => rm(temporary, { recursive: true }));
  const child = startSkerry(['playground', '--stores', '1', '--shards', '1', '--exec', 'echo ready >&2; sleep 60'], {
    env: { TMPDIR: temporary },
  });
  const run = ended(child);
  const pids = pidsIn(await said(child, 'ready'));
  t.equal(pids.length, 2);
  child.kill('SIGTERM');
  t.equal((await run).code, 143);
  t.same(pids.filter(runs), []);
  t.same(
    (await readdir(temporary)).filter((name) => name.startsWith('skerry-')),
    [],
  );
});

t.test('servers do not outlive a playground that was killed', async (t) => {
  const child = startSkerry([
    'playground',
    '--stores',
    '1',
    '--shards',
    '1',
    '--exec',
    'echo ready >&2; while kill -0 $PPID; do sleep 0.2; done',
  ]);
  const pids = pidsIn(await said(child, 'ready'));
  t.equal(pids.length, 2);
  t.ok(pids.every(runs));
  child.kill('SIGKILL');
  await gone(pids);
  t.pass('they noticed');
});

t.test('a playground that cannot start says what is in its way', async (t) => {
  const file = fileURLToPath(import.meta.url);
  const run = await runSkerry(['playground', '--data-dir', file, '--exec', 'true']);
  t.equal(run.code, 1);
  t.match(run.stderr, file);
});

t.test('free ports are free and different', async (t) => {
  const ports = await freePorts(5);
  t.equal(new Set(ports).size, 5);
  for (const port of ports) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    t.equal((server.address() as AddressInfo).port, port);
    await new Promise((resolve) => server.close(resolve));
  }
});
