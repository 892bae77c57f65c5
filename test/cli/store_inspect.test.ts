import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { NodeDisk } from '../../src/raftlog/node_disk.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import { encodeEntryPayload } from '../../src/wire/entry_codec.js';
import { encodeWriteCommand } from '../../src/wire/kv_bodies.js';
import { DataDirectory } from '../../store/data_directory.js';
import { runSkerry } from './support/run_skerry.js';

// Real processes take their time on a busy machine.
t.setTimeout(280_000);

const root = mkdtempSync(join(tmpdir(), 'skerry-inspect-'));
t.teardown(() => rmSync(root, { recursive: true }));

/** A digest over the names, sizes, times of change and bytes of everything below a directory. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  const add = (path: string): void => {
    const stats = statSync(path);
    hash.update(`${path} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}\n`);
    if (!stats.isDirectory()) hash.update(readFileSync(path));
    else for (const name of readdirSync(path).sort()) add(join(path, name));
  };
  add(directory);
  return hash.digest('hex');
}

/** A directory as a store leaves it: shard 1 with a write of each kind, shard 2 with a vote. Not closed if `killed`. */
async function makeStore(name: string, o: { killed: boolean }): Promise<string> {
  const path = join(root, name);
  const data = DataDirectory.open(path);
  data.update({ clusterId: 77, storeId: 3 });
  mkdirSync(data.enginePath);
  writeFileSync(join(data.enginePath, '000004.sst'), 'rows');
  const log = await openRaftLog({
    disk: new NodeDisk(),
    directory: data.raftLogPath,
    runtime: nodeRuntime(),
    logger: silentLogger,
    segmentBytes: 65_536,
    onFatal: (error) => {
      throw error;
    },
  });
  const hardState = { term: 6, vote: 11, commit: 6 };
  await log.write([
    { kind: 'reset', groupId: 1, index: 5, term: 5, hardState },
    { kind: 'reset', groupId: 2, index: 5, term: 5, hardState: { term: 9, vote: 22, commit: 5 } },
  ]);
  const command = encodeWriteCommand({
    sessionId: 4242,
    sequence: 17,
    ackedBelow: 16,
    retry: false,
    mutations: [
      { kind: 'set', key: Buffer.from('name'), value: Buffer.from('a value of 21 bytes!!') },
      { kind: 'delete', key: Buffer.from('gone') },
      { kind: 'swap', key: Buffer.from([0, 255]), expected: null, value: Buffer.from('new') },
    ],
  });
  const data6 = encodeEntryPayload([{ kind: 1, bytes: command }]);
  await log.write([
    {
      kind: 'append',
      groupId: 1,
      hardState: null,
      entries: [
        { index: 6, term: 6, type: 0, data: data6 },
        { index: 7, term: 6, type: 0, data: Buffer.alloc(0) },
        { index: 8, term: 6, type: 0, data: Buffer.from('no payload') },
      ],
    },
  ]);
  const before = join(data.raftLogPath, '000000000001.log');
  const open = o.killed ? readFileSync(before) : null;
  await log.close();
  // A killed process writes no close mark.
  if (open !== null) writeFileSync(before, open);
  data.close();
  return path;
}

t.test('a stopped store is shown as a table and as JSON, and not a byte of it changes', async (t) => {
  const path = await makeStore('closed', { killed: false });
  const before = fingerprint(path);
  const text = await runSkerry(['store', 'inspect', path]);
  t.equal(text.code, exitCodes.ok, text.stderr);
  const shown = text.stdout.toString();
  t.match(shown, /cluster 77, store 3, incarnation 1, format 1/);
  t.match(shown, /000000000001\.log +current +65536/);
  t.match(shown, /\n1 +6 +8 +6 +6 +11 +6 /);
  t.match(shown, /\n2 +6 +5 +5 +9 +22 +5 /);
  t.match(shown, /no damage found/);
  t.match(shown, /engine: 1 files, 4 B; its rows are not read/);
  const json = await runSkerry(['store', 'inspect', path, '--shard', '2', '--output', 'json']);
  t.equal(json.code, exitCodes.ok, json.stderr);
  t.match(JSON.parse(json.stdout.toString()), {
    identity: { clusterId: 77, storeId: 3 },
    raftLog: { tail: { state: 'closed' }, groups: [{ groupId: 2, hardState: { term: 9, vote: 22, commit: 5 } }] },
    engine: { files: 1, rowsRead: false },
  });
  t.equal(fingerprint(path), before);
});

t.test('the entries of a shard are decoded', async (t) => {
  const path = await makeStore('entries', { killed: true });
  const before = fingerprint(path);
  const text = await runSkerry(['store', 'inspect', path, '--shard', '1', '--entries']);
  t.equal(text.code, exitCodes.ok, text.stderr);
  const shown = text.stdout.toString();
  t.match(
    shown,
    /6 @6 commands \d+ B\n {4}write \[session 4242\/17\] set name \(21 B\), delete gone, swap \\x00\\xff \(3 B\)/,
  );
  t.match(shown, /7 @6 empty 0 B/);
  t.match(shown, /8 @6 malformed 10 B/);
  const json = await runSkerry(['store', 'inspect', path, '--shard', '1', '--entries', '--output', 'json']);
  const entries = JSON.parse(json.stdout.toString()) as unknown[];
  t.equal(entries.length, 3);
  const swapped = { kind: 'swap', key: Buffer.from([0, 255]).toString('base64'), valueBytes: 3 };
  t.match(entries[0], {
    index: 6,
    content: { commands: [{ kind: 'write', sessionId: 4242, sequence: 17, mutations: [{}, {}, swapped] }] },
  });
  t.equal(fingerprint(path), before);
});

t.test('a damaged log ends with failure, names the shards, and stays as it is', async (t) => {
  const path = await makeStore('damaged', { killed: false });
  const file = join(path, 'raftlog', '000000000001.log');
  const bytes = readFileSync(file);
  bytes[bytes.indexOf('a value of 21')] = 0;
  writeFileSync(file, bytes);
  const before = fingerprint(path);
  const text = await runSkerry(['store', 'inspect', path]);
  t.equal(text.code, exitCodes.failure);
  t.match(text.stdout.toString(), /damage: segment 1 at \d+, hits shard 1\n/);
  t.match(text.stdout.toString(), /neither vote nor lead until refilled: shard 1\n/);
  t.equal(fingerprint(path), before);
});

t.test(
  'a running store, an absent directory and one that is not of a store are refused, each with its code',
  async (t) => {
    const path = await makeStore('running', { killed: false });
    const refused = async (args: string[], code: number, says: RegExp): Promise<void> => {
      const ended = await runSkerry(['store', 'inspect', ...args]);
      t.equal(ended.code, code, args.join(' '));
      t.match(ended.stderr, says);
      t.equal(ended.stdout.length, 0);
    };
    const running = DataDirectory.open(path);
    const before = fingerprint(path);
    await refused([path], exitCodes.conflict, new RegExp(`in use by process ${process.pid}`));
    t.equal(fingerprint(path), before);
    running.close();
    await refused([join(root, 'nothing')], exitCodes.notFound, /no directory/);
    mkdirSync(join(root, 'empty'));
    await refused([join(root, 'empty')], exitCodes.notFound, /holds no Raft log \[noLog\]/);
    await refused([path, '--shard', '9'], exitCodes.notFound, /no shard 9/);
    await refused([path, '--entries'], exitCodes.usage, /--entries needs --shard/);
    writeFileSync(join(path, 'identity'), 'garbage');
    await refused([path], exitCodes.failure, /identity is damaged/);
  },
);
