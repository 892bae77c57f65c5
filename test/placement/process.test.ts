import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { packageRoot } from '../../src/transport/package_root.js';

// A guard against hanging, not a measurement: the machine may be busy.
t.setTimeout(280_000);

/** The command as people run it. */
const directory = t.testdir();
const fromSource = import.meta.url.endsWith('.ts');

function run(flags: readonly string[], environment: Record<string, string> = {}): ChildProcess {
  const loader = fromSource ? ['--import', 'tsx'] : [];
  return spawn(process.execPath, [...loader, join(packageRoot(), 'bin', 'skerry-placement.js'), ...flags], {
    cwd: packageRoot(),
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...(fromSource ? { SKERRY_FROM_SOURCE: '1' } : {}), ...environment },
  });
}

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
}

function ended(child: ChildProcess): Promise<Ended> {
  let stderr = '';
  child.stderr?.on('data', (data: Buffer) => void (stderr += data.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stderr })));
}

function ready(child: ChildProcess): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) throw new Error('no output');
    createInterface({ input: child.stdout }).once('line', (line) =>
      resolve(JSON.parse(line) as Record<string, unknown>),
    );
    child.once('close', (code) => reject(new Error(`ended with ${code}`)));
  });
}

function flagsFor(name: string, member = '1=127.0.0.1:0'): string[] {
  return ['--member-id', '1', '--members', member, '--data-dir', join(directory, name), '--log-level', 'warn'];
}

t.test('it says where it serves, and ends in order on a signal', async (t) => {
  const child = run(flagsFor('signal'));
  const end = ended(child);
  const line = await ready(child);
  t.match(line, { event: 'ready', memberId: 1, address: /^127\.0\.0\.1:\d+$/, metrics: /^127\.0\.0\.1:\d+$/ });
  child.kill('SIGTERM');
  t.match(await end, { code: 0, stderr: '' });
});

t.test('it ends with its parent when asked to, and starts again from its directory', async (t) => {
  for (const round of [1, 2]) {
    const child = run([...flagsFor('stdin'), '--exit-on-stdin-end']);
    const end = ended(child);
    await ready(child);
    child.stdin?.end();
    t.equal((await end).code, 0, `round ${round}`);
  }
  const other = run(['--member-id', '2', '--members', '2=127.0.0.1:0', '--data-dir', join(directory, 'stdin')]);
  const { code, stderr } = await ended(other);
  t.equal(code, 1);
  t.match(stderr, /belongs to placement member 1.*give each member a directory of its own/s);
});

t.test('a second server on one directory, an address in use and a foreign directory are refused by name', async (t) => {
  const child = run(flagsFor('twice'));
  const end = ended(child);
  await ready(child);
  const second = await ended(run(flagsFor('twice')));
  t.equal(second.code, 1);
  t.match(second.stderr, /lock|in use/i);
  child.kill('SIGTERM');
  await end;

  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  const blocked = await ended(run(flagsFor('blocked', `1=127.0.0.1:${port}`)));
  server.close();
  t.equal(blocked.code, 1);
  t.match(blocked.stderr, /is in use by another process/);

  mkdirSync(join(directory, 'foreign'));
  writeFileSync(join(directory, 'foreign', 'holiday.txt'), 'sun');
  const foreign = await ended(run(flagsFor('foreign')));
  t.equal(foreign.code, 1);
  t.match(foreign.stderr, /not empty and no placement data directory/);
});

t.test('a configuration that cannot work is refused with every problem', async (t) => {
  const bad = await ended(run(['--member-id', '1', '--members', '1=a:1,2=b:2']));
  t.equal(bad.code, 2);
  t.match(bad.stderr, /data_dir: is required/);
  t.match(bad.stderr, /1, 3 or 5 members/);
  const unknown = await ended(run(flagsFor('env'), { SKERRY_PLACEMENT_STORE_DOWN: '5' }));
  t.equal(unknown.code, 2);
  t.match(unknown.stderr, /did you mean SKERRY_PLACEMENT_STORE_DOWN_MS/);
});
