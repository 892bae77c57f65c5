import fc from 'fast-check';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { MetaClient } from '../../src/client/meta_client.js';
import { SkerryError } from '../../src/client/index.js';
import {
  metadataBytesMax,
  metadataEntriesMax,
  metadataKeyBytesMax,
  metadataPageBytesMax,
  metadataValueBytesMax,
} from '../../placement/limits.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import type { CommandOutcome } from '../../placement/state/commands.js';
import { changedRows, restoreRow } from '../../placement/state/rows.js';
import { PlacementGroup } from './support/placement_group.js';

function set(state: ClusterState, key: string, value: Buffer | string, ifVersion?: number): CommandOutcome {
  const command = { kind: 'setMetadata', key, value: Buffer.from(value), ifVersion } as const;
  return state.apply(decodeCommand(encodeCommand(command)));
}

function del(state: ClusterState, key: string, ifVersion?: number): CommandOutcome {
  return state.apply(decodeCommand(encodeCommand({ kind: 'deleteMetadata', key, ifVersion })));
}

function refusalOf(outcome: CommandOutcome): string {
  if (outcome.ok) return 'none';
  const { detail } = outcome.error;
  return detail?.$case === 'failedPrecondition' ? detail.value.reason : (detail?.$case ?? 'untyped');
}

function keysOf(state: ClusterState, prefix: string, after = ''): string[] {
  return [...state.metadata.list(prefix, after)].map((entry) => entry.key);
}

t.test('every change has a version of its own, and a key that comes back has a new one', (t) => {
  const state = new ClusterState();
  t.same(set(state, 'a', '1'), { ok: true, value: 1 });
  t.same(set(state, 'b', '1'), { ok: true, value: 2 });
  t.same(del(state, 'a'), { ok: true, value: 1 });
  t.same(del(state, 'a'), { ok: true, value: 0 }, 'nothing was there any more');
  t.same(set(state, 'a', '2'), { ok: true, value: 4 });
  t.equal(state.metadata.get('a')?.value.toString(), '2');
  t.end();
});

t.test('a write that expects another version is refused and changes nothing', (t) => {
  const state = new ClusterState();
  t.equal(refusalOf(set(state, 'a', '1', 7)), 'VERSION_NOT_MATCH');
  t.same(set(state, 'a', '1', 0), { ok: true, value: 1 }, 'none is expected, none is there');
  t.equal(refusalOf(set(state, 'a', '2', 0)), 'VERSION_NOT_MATCH');
  t.equal(refusalOf(del(state, 'a', 2)), 'VERSION_NOT_MATCH');
  t.same(set(state, 'a', '2', 1), { ok: true, value: 2 });
  t.equal(refusalOf(del(state, 'b', 1)), 'VERSION_NOT_MATCH');
  t.same(del(state, 'a', 2), { ok: true, value: 1 });
  t.equal(state.metadata.size, 0);
  t.end();
});

t.test('past its number of entries the table takes changes and removals only', (t) => {
  const state = new ClusterState();
  for (let i = 0; i < metadataEntriesMax; i++) state.metadata.set({ key: `k${i}`, value: Buffer.alloc(1), version: 1 });
  t.equal(refusalOf(set(state, 'one more', '')), 'METADATA_FULL');
  t.equal(refusalOf(set(state, 'k1', 'changed')), 'none');
  t.equal(refusalOf(del(state, 'k2')), 'none');
  t.equal(refusalOf(set(state, 'one more', '')), 'none');
  t.end();
});

t.test('past its bytes the table takes only what makes it no larger', (t) => {
  const state = new ClusterState();
  const large = Buffer.alloc(metadataValueBytesMax);
  let count = 0;
  while (refusalOf(set(state, `k${count}`, large)) === 'none') count++;
  t.ok(state.metadata.bytes <= metadataBytesMax);
  t.ok(state.metadata.bytes > metadataBytesMax - metadataValueBytesMax - 16);
  t.equal(refusalOf(set(state, 'k0', large)), 'none', 'as large as before');
  t.equal(refusalOf(set(state, 'k0', '')), 'none');
  t.equal(refusalOf(set(state, `k${count}`, large)), 'none', 'there is room again');
  t.end();
});

t.test('the table lists and counts as a plain map does, and its rows make the same table', (t) => {
  const key = fc.constantFrom('a', 'ab', 'abc', 'b', 'ba', 'ä', '\u{1f600}', '\uffff');
  const change = fc.record({ key, value: fc.option(fc.string({ maxLength: 4 })) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), key, key, (changes, prefix, after) => {
      const state = new ClusterState();
      const model = new Map<string, string>();
      const rows = new Map<string, Buffer>();
      for (const { key, value } of changes) {
        if (value === null) del(state, key);
        else set(state, key, value);
        if (value === null) model.delete(key);
        else model.set(key, value);
        for (const row of changedRows(state, state.takeChanges())) {
          if (row.value === null) rows.delete(row.key.toString('hex'));
          else rows.set(row.key.toString('hex'), row.value);
        }
      }
      const again = new ClusterState();
      for (const [name, value] of rows) restoreRow(again, Buffer.from(name, 'hex'), value);
      const sorted = [...model.keys()].sort((a, b) => (a < b ? -1 : 1));
      const bytes = [...model].reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
      for (const table of [state, again]) {
        t.same(keysOf(table, ''), sorted);
        const expected = sorted.filter((k) => k.startsWith(prefix) && k > after);
        t.same(keysOf(table, prefix, after), expected);
        t.equal(table.metadata.bytes, bytes);
        for (const [k, v] of model) t.equal(table.metadata.get(k)?.value.toString(), v);
      }
      t.equal(again.metaRecord.metadataVersion, state.metaRecord.metadataVersion);
    }),
    { numRuns: 200 },
  );
  t.end();
});

async function rejection(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'none';
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
    const { reason } = error.details;
    return typeof reason === 'string' ? `${error.code} ${reason}` : error.code;
  }
}

async function listed(meta: MetaClient, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const entry of meta.list(prefix, { keysOnly: true })) keys.push(entry.key);
  return keys;
}

t.test('what one member was told, every member tells at once', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const clients = await Promise.all(group.machines.map((machine) => group.meta(machine)));
  for (let round = 0; round < 12; round++) {
    const writer = must(clients[round % 3], 'a client');
    const version = await clock.resolve(writer.set('service/a', `address ${round}`));
    for (const reader of clients) {
      const entry = await clock.resolve(reader.get('service/a'));
      t.match(entry, { key: 'service/a', version });
      t.equal(entry?.value.toString(), `address ${round}`);
    }
  }
  const [first] = clients;
  if (first === undefined) throw new Error('no client');
  t.equal(await clock.resolve(first.get('none')), null);
  t.equal(await clock.resolve(first.exists('none')), false);
  t.equal(await clock.resolve(first.exists('service/a')), true);
  t.equal(
    await rejection(clock.resolve(first.set('service/a', '', { ifVersion: 0 }))),
    'FAILED_PRECONDITION VERSION_NOT_MATCH',
  );
  t.equal(await clock.resolve(first.delete('service/a')), true);
  t.equal(await clock.resolve(first.delete('service/a')), false);
});

t.test('what is too large is refused by its name, and pages are bounded by bytes', async (t) => {
  const group = await PlacementGroup.start(1);
  const { clock } = group;
  const meta = await group.meta();
  t.equal(await rejection(clock.resolve(meta.set('', 'x'))), 'INVALID_ARGUMENT KEY_EMPTY');
  const longKey = 'ä'.repeat(metadataKeyBytesMax / 2);
  t.equal(await rejection(clock.resolve(meta.set(`${longKey}b`, 'x'))), 'INVALID_ARGUMENT KEY_TOO_LARGE');
  t.equal(await rejection(clock.resolve(meta.set(longKey, 'x'))), 'none');
  const large = Buffer.alloc(metadataValueBytesMax, 1);
  const tooLarge = Buffer.alloc(metadataValueBytesMax + 1);
  t.equal(await rejection(clock.resolve(meta.set('k', tooLarge))), 'INVALID_ARGUMENT VALUE_TOO_LARGE');
  const count = (2 * metadataPageBytesMax) / metadataValueBytesMax;
  const names = Array.from({ length: count }, (_, i) => `large/${String(i).padStart(3, '0')}`);
  for (const name of names) await clock.resolve(meta.set(name, large));
  t.same(await clock.resolve(listed(meta, 'large/')), names, 'keys alone fit one page');
  let bytes = 0;
  const all = async (): Promise<void> => {
    for await (const { value } of meta.list('large/')) bytes += value.length;
  };
  await clock.resolve(all());
  t.equal(bytes, count * metadataValueBytesMax, 'and all values come, over several');
});

t.test('entries are there after a restart, and after a failover', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const meta = await group.meta();
  const version = await clock.resolve(meta.set('kept', 'value'));
  group.leader.powerCut();
  await group.untilLed();
  t.match(await clock.resolve(meta.get('kept')), { version });
  for (const machine of group.machines) if (machine.state !== 'down') machine.powerCut();
  for (const machine of group.machines) machine.boot();
  await group.untilLed();
  t.match(await clock.resolve(meta.get('kept')), { version });
  t.ok((await clock.resolve(meta.set('kept', 'value'))) > version);
});

t.test('without a majority only stale reads are answered', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const survivor = must(group.others[0], 'another member');
  const meta = await group.meta(survivor);
  await clock.resolve(meta.set('a', '1'));
  await clock.resolve(meta.get('a'));
  for (const machine of group.machines) if (machine !== survivor) machine.powerCut();
  await clock.until(() => group.memberOf(survivor).leaderId() === 0, 'the survivor knows that nobody leads');
  t.equal((await clock.resolve(meta.get('a', { stale: true })))?.value.toString(), '1');
  t.equal(await rejection(clock.resolve(meta.get('a'))), 'PLACEMENT_UNAVAILABLE');
  // An attempt that was still waiting for a leader at the deadline is not known to have failed.
  t.match(await rejection(clock.resolve(meta.set('a', '2'))), /^(PLACEMENT_UNAVAILABLE|UNDETERMINED)$/);
  t.equal((await clock.resolve(meta.get('a', { stale: true })))?.value.toString(), '1');
});

t.test(
  'a write whose answer is lost on its way through another member is undetermined, and not repeated',
  async (t) => {
    const group = await PlacementGroup.start(3);
    const { clock, leader } = group;
    const through = must(group.others[0], 'another member');
    const meta = await group.meta(through);
    await clock.resolve(meta.set('a', '1'));
    // The request reaches the leader, its answer does not come back.
    group.net.cut(leader.name, through.name);
    const outcome = rejection(meta.set('a', '2'));
    t.equal(await clock.resolve(outcome), 'UNDETERMINED');
    group.net.healAll();
    const version = (await clock.resolve(meta.get('a')))?.version ?? 0;
    t.ok(version <= 2, 'it took effect once at most');
  },
);
