import t from 'tap';
import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import { AdminCommand } from '../../src/gen/skerry/v1/kv.js';
import type { ReplicaChecksum } from '../../src/gen/skerry/v1/placement.js';
import type { Command } from '../../src/multiraft/host.js';
import { EntryType } from '../../src/raft/message.js';
import { decodeInspected } from '../../src/raftlog/inspect_entries.js';
import { encodeEntryPayload } from '../../src/wire/entry_codec.js';
import { Checksums } from '../../store/checksums.js';
import { checksumReportsMax } from '../../store/limits.js';
import { PlacementSession } from '../../store/placement_session.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';
import { del, MachineDriver, set, split, testShard, write } from './machine_driver.js';

const checksum = (checkId: number): Command => ({
  kind: 2,
  bytes: Buffer.from(
    AdminCommand.encode({ command: { $case: 'checksum', value: { checkId, bytesPerSecond: 1e9 } } }).finish(),
  ),
});

/** A replica that computes the checksums that its commands ask for. */
class Replica {
  readonly clock = new VirtualClock();
  readonly reports: ReplicaChecksum[] = [];
  readonly driver = new MachineDriver(new MemoryEngine());
  readonly checksums = new Checksums({
    engine: this.driver.engine,
    runtime: new VirtualRuntime(this.clock, 1),
    logger: silentLogger,
    report: (report) => void this.reports.push(report),
  });

  constructor() {
    this.driver.host.onChecksum = (request) => this.checksums.take(request);
  }

  /** Applies entries, cut into batches of the given sizes, again and again. */
  async apply(entries: readonly (readonly Command[])[], sizes: readonly number[]): Promise<ReplicaChecksum[]> {
    // A leader's first entry. With it, the replica has a record in the engine.
    await this.driver.entry();
    for (let at = 0, n = 0; at < entries.length; n++) {
      const size = must(sizes[n % sizes.length], 'a size');
      await this.driver.batch(entries.slice(at, at + size));
      at += size;
    }
    await this.clock.until(() => this.checksums.stats.running === 0, 'the checksums are computed');
    return this.reports.sort((a, b) => a.checkId - b.checkId);
  }
}

const session = (sessionId: number, sequence: number): { sessionId: number; sequence: number } => ({
  sessionId,
  sequence,
});

const entries: readonly (readonly Command[])[] = [
  [write([set('a', '1')]), write([set('m', '1')], session(7, 1))],
  [checksum(1)],
  [write([set('a', '2'), set('z', '1')], session(7, 2))],
  [write([del('m')], session(8, 1)), checksum(2), write([set('m', 'after it')], session(8, 2))],
  [checksum(3)],
  [
    split({
      epoch: { confVer: 1, version: 1 },
      splitKey: Buffer.from('n'),
      newShard: testShard({
        shardId: 2,
        replicas: [1, 2, 3].map((storeId) => ({ replicaId: 20 + storeId, storeId, role: 1 })),
      }),
    }),
  ],
  [write([set('b', '1')]), checksum(4)],
  [write([set('b', '2')], session(7, 3)), write([del('a')])],
];

t.test('a checksum is of the state right after its command, however entries are cut into batches', async (t) => {
  const expected = await new Replica().apply(entries, [1]);
  t.same(
    expected.map(({ failure, index, rows }) => [failure, index, rows]),
    [
      ['', 8, 3],
      // a, z, two sessions; m is gone.
      ['', 10, 4],
      ['', 11, 5],
      // z went with the split.
      ['', 13, 5],
    ],
  );
  t.equal(new Set(expected.map((r) => r.checksum)).size, 4, 'each state has its own');
  for (const sizes of [[8], [2], [3], [4], [5, 1], [1, 3], [2, 6], [6, 2], [7, 1]]) {
    t.same(await new Replica().apply(entries, sizes), expected, `batches of ${sizes.join(' and ')} entries`);
  }
});

t.test('an administrative command of a later version is passed over by every replica alike', async (t) => {
  const replica = new Replica();
  // Field 15, which nothing has.
  const unknown: Command = { kind: 2, bytes: Buffer.from([(15 << 3) | 2, 1, 0]) };
  const outcomes = await replica.driver.entry(unknown, write([set('a', '1')]), { kind: 2, bytes: Buffer.from([0xff]) });
  t.same(
    outcomes.map((o) => o.kind),
    ['malformed', 'written', 'malformed'],
  );
  t.equal(await replica.driver.get('a'), '1');
});

t.test('a checksum command in the log is shown as one', async (t) => {
  const data = encodeEntryPayload([checksum(99)]);
  const entry = { index: 7, term: 6, type: EntryType.EntryNormal, data };
  t.match(decodeInspected({ index: 7, entry }), {
    content: { kind: 'commands', commands: [{ kind: 'checksum', checkId: 99 }] },
  });
});

t.test('a replica whose record is not where it should be gets no checksum', async (t) => {
  const replica = new Replica();
  await replica.driver.entry(write([set('a', '1')]));
  const elsewhere = new Checksums({
    engine: new MemoryEngine(),
    runtime: new VirtualRuntime(replica.clock, 1),
    logger: silentLogger,
    report: (report) => void replica.reports.push(report),
  });
  replica.driver.host.onChecksum = (request) => elsewhere.take(request);
  await replica.driver.entry(checksum(1));
  await replica.clock.until(() => replica.reports.length === 1, 'an answer');
  t.match(replica.reports, [{ failure: /the engine is at index \d+, the replica was at/ }]);
});

t.test('checksums that cannot be told placement are kept up to a bound, the latest ones', async (t) => {
  const clock = new VirtualClock();
  const sent: number[] = [];
  let opened = false;
  const session = new PlacementSession({
    clusterId: 1,
    storeId: 1,
    runtime: new VirtualRuntime(clock, 1),
    logger: silentLogger,
    members: { current: () => 'a', failed: () => 1, redirect: () => undefined, succeeded: () => undefined } as never,
    connector: {
      openSession: () => {
        opened = true;
        return {
          send: (frame: { checksums: { checkId: number }[] }) =>
            void sent.push(...frame.checksums.map((c) => c.checkId)),
          close: () => undefined,
        };
      },
    } as never,
    reports: {
      reset: () => undefined,
      held: () => [],
      take: () => ({ shards: [], noLongerLed: [] }),
      pending: false,
      lookAtProgress: () => undefined,
      lookAtCatchingUp: () => undefined,
    } as never,
    executor: { execute: () => Promise.resolve(null) },
    reportIntervalMs: 1_000,
    storeReport: () => ({}) as never,
    storesChanged: () => undefined,
    fatal: (error) => t.fail(error.message),
  });
  const report = (checkId: number): ReplicaChecksum => ({
    ...{ checkId, shardId: 1, replicaId: 11, index: 9 },
    ...{ checksum: 0, rows: 0, bytes: 0, failure: '' },
  });
  for (let checkId = 1; checkId <= checksumReportsMax + 2; checkId++) session.checksumTaken(report(checkId));
  t.notOk(opened);
  session.start();
  await clock.settle();
  t.same([sent.length, sent[0], sent.at(-1)], [checksumReportsMax, 3, checksumReportsMax + 2]);
  session.stop();
});
