import fc from 'fast-check';
import t from 'tap';
import * as gen from '../../src/gen/skerry/v1/kv.js';
import type { Error as ErrorMessage } from '../../src/gen/skerry/v1/error.js';
import * as wire from '../../src/wire/index.js';
import { alike, bytes, flag, id, record, same, uint32 } from './arbitraries.js';

const mutation: fc.Arbitrary<wire.Mutation> = fc.oneof(
  record({ kind: fc.constant('set' as const), key: bytes, value: bytes }),
  record({ kind: fc.constant('delete' as const), key: bytes }),
  record({
    kind: fc.constant('swap' as const),
    key: bytes,
    expected: fc.option(bytes),
    value: fc.option(bytes),
  }),
);

const command: fc.Arbitrary<wire.WriteCommand> = record({
  sessionId: id,
  sequence: id,
  ackedBelow: id,
  retry: flag,
  mutations: fc.array(mutation, { maxLength: 6 }),
});

function toGenMutation(m: wire.Mutation): gen.Mutation {
  switch (m.kind) {
    case 'set':
      return { key: m.key, op: { $case: 'set', value: m.value } };
    case 'delete':
      return { key: m.key, op: { $case: 'delete', value: true } };
    case 'swap':
      return {
        key: m.key,
        op: { $case: 'compareAndSwap', value: { expected: m.expected ?? undefined, value: m.value ?? undefined } },
      };
  }
}

function toGenCommand(c: wire.WriteCommand): gen.WriteCommand {
  return { ...c, mutations: c.mutations.map(toGenMutation) };
}

const scan: fc.Arbitrary<wire.ScanOp> = record({
  startKey: bytes,
  endKey: bytes,
  limit: uint32,
  reverse: flag,
  keysOnly: flag,
  prefix: bytes,
});

type GenOp = NonNullable<gen.BatchOp['op']>;

/** A body of each kind beside what the generated code makes of it. */
const content: fc.Arbitrary<{ kind: wire.OpKind; body: Buffer; op: GenOp }> = fc.oneof(
  command.map((c) => ({
    kind: wire.OpKind.write,
    body: wire.encodeWriteCommand(c),
    op: { $case: 'write' as const, value: toGenCommand(c) },
  })),
  bytes.map((key) => ({ kind: wire.OpKind.get, body: key, op: { $case: 'get' as const, value: key } })),
  bytes.map((key) => ({ kind: wire.OpKind.exists, body: key, op: { $case: 'exists' as const, value: key } })),
  fc.array(bytes).map((keys) => ({
    kind: wire.OpKind.batchGet,
    body: wire.encodeKeyList(keys),
    op: { $case: 'batchGet' as const, value: { keys } },
  })),
  scan.map((s) => ({
    kind: wire.OpKind.scan,
    body: wire.encodeScanOp(s),
    op: { $case: 'scan' as const, value: s },
  })),
);

const op = record({
  content,
  id,
  shardId: id,
  confVer: id,
  version: id,
  timeoutMs: uint32,
  consistency: fc.constantFrom(0 as const, 1 as const, 2 as const, 3 as const),
  allowForward: flag,
}).map(({ content: { kind, body, op: genOp }, ...head }) => ({
  ours: { ...head, kind, body },
  theirs: { ...head, op: genOp },
}));

t.test('batch requests are byte for byte those of the generated code, both ways', (t) => {
  fc.assert(
    fc.property(id, id, fc.array(op, { maxLength: 5 }), (clusterId, storeId, ops) => {
      const ours = wire.encodeBatchRequest(
        clusterId,
        storeId,
        ops.map((o) => o.ours),
      );
      const theirs = gen.BatchRequest.encode({ clusterId, storeId, ops: ops.map((o) => o.theirs) }).finish();
      same(ours, theirs);
      const decoded = wire.decodeBatchRequest(Buffer.from(theirs));
      alike(decoded, { clusterId, storeId, ops: ops.map((o) => o.ours) });
    }),
  );
  t.pass();
  t.end();
});

t.test('one operation by itself is a BatchOp', (t) => {
  fc.assert(
    fc.property(op, ({ ours, theirs }) => {
      same(wire.encodeOp(ours), gen.BatchOp.encode(theirs).finish());
      alike(wire.decodeOp(wire.encodeOp(ours)), ours);
    }),
  );
  t.pass();
  t.end();
});

t.test('write commands, key lists and scans read back as they were written', (t) => {
  fc.assert(
    fc.property(command, fc.array(bytes), scan, (c, keys, s) => {
      same(wire.encodeWriteCommand(c), gen.WriteCommand.encode(toGenCommand(c)).finish());
      alike(wire.decodeWriteCommand(wire.encodeWriteCommand(c)), c);
      alike(wire.decodeKeyList(wire.encodeKeyList(keys)), keys);
      alike(wire.decodeScanOp(wire.encodeScanOp(s)), s);
    }),
  );
  t.pass();
  t.end();
});

const row = record({ key: bytes, value: bytes });
const rows: fc.Arbitrary<wire.RowsResult> = record({ rows: fc.array(row), more: flag, nextKey: bytes });
const writeResult: fc.Arbitrary<wire.WriteResult> = record({ applied: flag, current: fc.option(bytes) });
const errorMessage: fc.Arbitrary<ErrorMessage> = record({
  message: fc.string({ unit: 'grapheme' }),
  detail: fc.oneof(
    record({
      $case: fc.constant('notLeader' as const),
      value: record({ shardId: id, leaderReplicaId: id, leaderStoreId: id, term: id }),
    }),
    fc.constant(undefined),
  ),
});

const result = record({
  id,
  content: fc.oneof(
    errorMessage.map((value) => ({
      kind: wire.ResultKind.error,
      body: wire.encodeErrorResult(value),
      result: { $case: 'error' as const, value },
    })),
    writeResult.map((value) => ({
      kind: wire.ResultKind.write,
      body: wire.encodeWriteResult(value),
      result: { $case: 'write' as const, value: { ...value, current: value.current ?? undefined } },
    })),
    fc.option(bytes).map((value) => ({
      kind: wire.ResultKind.get,
      body: wire.encodeValueResult(value),
      result: { $case: 'get' as const, value: { value: value ?? undefined } },
    })),
    flag.map((value) => ({
      kind: wire.ResultKind.exists,
      body: wire.encodeExistsResult(value),
      result: { $case: 'exists' as const, value },
    })),
    rows.map((value) => ({
      kind: wire.ResultKind.rows,
      body: wire.encodeRowsResult(value),
      result: { $case: 'rows' as const, value: { ...value, rows: [...value.rows] } },
    })),
  ),
}).map(({ id, content: { kind, body, result } }) => ({ ours: { id, kind, body }, theirs: { id, result } }));

t.test('batch responses are byte for byte those of the generated code, both ways', (t) => {
  fc.assert(
    fc.property(fc.array(result, { maxLength: 5 }), (results) => {
      const ours = wire.encodeBatchResponse(results.map((r) => r.ours));
      const theirs = gen.BatchResponse.encode({ results: results.map((r) => r.theirs) }).finish();
      same(ours, theirs);
      alike(
        wire.decodeBatchResponse(Buffer.from(theirs)),
        results.map((r) => r.ours),
      );
      for (const { ours } of results) alike(wire.decodeResult(wire.encodeResult(ours)), ours);
    }),
  );
  t.pass();
  t.end();
});

t.test('bodies of results read back as they were written', (t) => {
  fc.assert(
    fc.property(rows, writeResult, fc.option(bytes), flag, errorMessage, (r, w, value, exists, error) => {
      alike(wire.decodeRowsResult(wire.encodeRowsResult(r)), r);
      alike(wire.decodeWriteResult(wire.encodeWriteResult(w)), w);
      alike(wire.decodeValueResult(wire.encodeValueResult(value)), value);
      alike(wire.decodeExistsResult(wire.encodeExistsResult(exists)), exists);
      alike(wire.decodeErrorResult(wire.encodeErrorResult(error)), error);
    }),
  );
  t.pass();
  t.end();
});

t.test('entries keep the common order of client and administrative commands', (t) => {
  const entry = fc.array(record({ kind: fc.constantFrom(1 as const, 2 as const), bytes }));
  fc.assert(
    fc.property(entry, (commands) => {
      const ours = wire.encodeEntryPayload(commands);
      alike(wire.decodeEntryPayload(ours), commands);
      const theirs = gen.EntryPayload.decode(ours);
      alike(
        theirs.commands.map((b) => Buffer.from(b)),
        commands.filter((c) => c.kind === 1).map((c) => c.bytes),
      );
      const sorted = [...commands].sort((a, b) => a.kind - b.kind);
      same(wire.encodeEntryPayload(sorted), gen.EntryPayload.encode(theirs).finish());
    }),
  );
  t.same(wire.decodeEntryPayload(Buffer.alloc(0)), [], 'an entry without data has no commands');
  t.end();
});

t.test('an operation that this version does not know is read as unknown, with its id', (t) => {
  const known = wire.encodeOp({
    id: 9,
    shardId: 2,
    confVer: 0,
    version: 0,
    timeoutMs: 0,
    consistency: 0,
    allowForward: false,
    kind: wire.OpKind.unknown,
    body: Buffer.alloc(0),
  });
  const decoded = wire.decodeOp(Buffer.concat([known, Buffer.from([(15 << 3) | 2, 2, 1, 2])]));
  t.match(decoded, { id: 9, shardId: 2, kind: wire.OpKind.unknown });
  t.match(wire.decodeResult(Buffer.from([8, 5, (15 << 3) | 0, 1])), { id: 5, kind: wire.ResultKind.unknown });
  t.end();
});

t.test('decoded byte strings are views of the frame', (t) => {
  const body = wire.encodeWriteCommand({
    sessionId: 1,
    sequence: 1,
    ackedBelow: 1,
    retry: false,
    mutations: [{ kind: 'set', key: Buffer.from('key'), value: Buffer.from('value') }],
  });
  const [first] = wire.decodeWriteCommand(body).mutations;
  t.ok(first?.kind === 'set' && first.key.buffer === body.buffer && first.value.buffer === body.buffer);
  t.end();
});

t.test('a mutation without an operation, or a delete that says false, is malformed', (t) => {
  const bad = (m: gen.Mutation): Buffer =>
    Buffer.from(
      gen.WriteCommand.encode({ sessionId: 0, sequence: 0, ackedBelow: 0, retry: false, mutations: [m] }).finish(),
    );
  const key = Buffer.from('k');
  t.throws(() => wire.decodeWriteCommand(bad({ key, op: undefined })), { name: 'WireError' });
  t.throws(() => wire.decodeWriteCommand(bad({ key, op: { $case: 'delete', value: false } })), { name: 'WireError' });
  t.end();
});
