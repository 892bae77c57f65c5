import t from 'tap';
import { CommandError, exitCodeOf, exitCodes } from '../../src/cli/exit_codes.js';
import { lineOf, recordOf } from '../../src/cli/kv_transfer.js';
import { nameOfValue } from '../../src/cli/names.js';
import { bytesForPeople, printable, table } from '../../src/cli/output.js';
import { rangeText, shardView } from '../../src/cli/shard_view.js';
import { SkerryError } from '../../src/client/index.js';
import { verifyColumns, verifyView } from '../../src/cli/shard_verify.js';
import { ReplicaCheckState, ShardStatus, VerifyOutcome } from '../../src/gen/skerry/v1/admin.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';

t.test('a range is shown in slots, in keys, or in bytes, as it can be', async (t) => {
  const text = (partitioning: string, start: Buffer, end: Buffer): string =>
    rangeText({ partitioning, startKey: start.toString('hex'), endKey: end.toString('hex') });
  const none = Buffer.alloc(0);
  const token = (slot: number): Buffer => Buffer.from([(slot * 4) >> 8, (slot * 4) & 255]);
  t.equal(text('hash', none, none), 'slots 0-16383');
  t.equal(text('hash', token(1024), token(2048)), 'slots 1024-2047');
  t.equal(text('hash', token(1024), Buffer.from([1, 2, 3])), '0x1000 to 0x010203');
  t.equal(text('range', none, Buffer.from('m')), 'start to "m"');
  t.equal(text('range', Buffer.from([0]), none), '"\\\\x00" to end');
});

t.test('a shard is shown with what is known of each replica', async (t) => {
  const view = shardView(
    ShardStatus.fromPartial({
      keyspace: 'default',
      route: {
        shard: {
          shardId: 7,
          epoch: { confVer: 3, version: 2 },
          replicas: [
            { replicaId: 71, storeId: 1, role: ReplicaRole.VOTER },
            { replicaId: 72, storeId: 2, role: ReplicaRole.INCOMING_VOTER },
          ],
        },
        leaderStoreId: 1,
      },
      progress: [{ replicaId: 72, pending: true }],
    }),
  );
  t.match(view, {
    shardId: 7,
    leaderStoreId: 1,
    epoch: { confVer: 3, version: 2 },
    replicas: [
      { storeId: 1, role: 'voter', pending: false },
      { storeId: 2, role: 'incoming-voter', pending: true },
    ],
    operator: null,
  });
  t.match(shardView(ShardStatus.fromPartial({})), { shardId: 0, replicas: [] });
});

t.test('a comparison of replicas is shown with every replica that does not agree', async (t) => {
  const { ODD, AGREES, UNCHECKED } = ReplicaCheckState;
  const view = verifyView({
    error: undefined,
    shardId: 4,
    outcome: VerifyOutcome.INCONSISTENT,
    index: 99,
    replicas: [
      { replicaId: 41, storeId: 1, state: AGREES, reason: '', checksum: 0xabc, rows: 5, bytes: 50 },
      { replicaId: 42, storeId: 2, state: ODD, reason: '', checksum: 1, rows: 4, bytes: 40 },
      { replicaId: 43, storeId: 3, state: UNCHECKED, reason: 'its store is away', checksum: 0, rows: 0, bytes: 0 },
    ],
  });
  t.match(view, { outcome: 'inconsistent', replicas: [{ checksum: '00000abc' }, { state: 'odd' }, { checksum: '' }] });
  t.same(
    verifyColumns.map((column) => column.value(view)),
    [4, 'INCONSISTENT', 99, '2/3', 5, '42 on store 2: odd; 43 on store 3: unchecked, its store is away'],
  );
});

t.test('bytes for people are text where they can be, and say what they are where not', async (t) => {
  t.equal(printable(Buffer.from('grüße')), 'grüße');
  t.equal(printable(Buffer.from([0, 65, 255])), '\\x00A\\xff');
  t.equal(printable(Buffer.from('a\nb')), 'a\\x0ab');
  t.equal(bytesForPeople(512), '512 B');
  t.equal(bytesForPeople(1536), '1.5 KiB');
  t.equal(bytesForPeople(3 * 1024 ** 4), '3.0 TiB');
  t.equal(nameOfValue(ReplicaRole, 99), 'unknown-99');
});

t.test('columns line up', async (t) => {
  const rows = [
    { a: 'x', b: 1 },
    { a: 'longer', b: 22 },
  ];
  const text = table(rows, [
    { title: 'A', value: (r) => r.a },
    { title: 'B', value: (r) => r.b },
  ]);
  t.equal(text, 'A       B\nx       1\nlonger  22\n');
});

t.test('a record of an export is text when both parts are, and base64 else', async (t) => {
  t.equal(lineOf(Buffer.from('k'), Buffer.from('v'), false), '{"key":"k","value":"v"}');
  for (const [key, value] of [
    [Buffer.from([255]), Buffer.from('v')],
    [Buffer.from('k'), Buffer.from([0, 255])],
  ] as const) {
    const line = lineOf(key, value, false);
    t.match(line, /"encoding":"base64"/);
    t.same(recordOf(line, 1, false), { key, value });
  }
  t.throws(() => recordOf('[]', 3, false), { name: 'CommandError', message: /line 3/ });
});

t.test('every kind of failure has its exit code', async (t) => {
  t.equal(exitCodeOf(new SkerryError('UNDETERMINED', '')), exitCodes.undetermined);
  t.equal(exitCodeOf(new SkerryError('SHARD_NOT_FOUND', '')), exitCodes.notFound);
  t.equal(exitCodeOf(new SkerryError('ALREADY_EXISTS', '')), exitCodes.conflict);
  t.equal(exitCodeOf(new CommandError(42, '')), 42);
  t.equal(exitCodeOf(new Error('')), exitCodes.failure);
});
