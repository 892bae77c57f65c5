import fc from 'fast-check';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { MsgType, newMessage } from '../../src/raft/message.js';
import * as wire from '../../src/wire/index.js';
import { frameItemsMax } from '../../src/wire/limits.js';
import { Reader } from '../../src/wire/reader.js';
import { varintSize, Writer } from '../../src/wire/writer.js';
import { alike, bytes, id } from './arbitraries.js';

const decoders: Readonly<Record<string, (frame: Buffer) => unknown>> = {
  decodeBatchRequest: wire.decodeBatchRequest,
  decodeOp: wire.decodeOp,
  decodeBatchResponse: wire.decodeBatchResponse,
  decodeResult: wire.decodeResult,
  decodeWriteCommand: wire.decodeWriteCommand,
  decodeWriteResult: wire.decodeWriteResult,
  decodeValueResult: wire.decodeValueResult,
  decodeExistsResult: wire.decodeExistsResult,
  decodeKeyList: wire.decodeKeyList,
  decodeScanOp: wire.decodeScanOp,
  decodeRowsResult: wire.decodeRowsResult,
  decodeErrorResult: wire.decodeErrorResult,
  decodeEntryPayload: wire.decodeEntryPayload,
  decodeEnvelope: wire.decodeEnvelope,
  decodeSnapshotFrame: wire.decodeSnapshotFrame,
};

/** 'value' or 'WireError'; any other error comes through. */
function outcome(decode: (frame: Buffer) => unknown, frame: Buffer): 'value' | 'WireError' {
  try {
    decode(frame);
    return 'value';
  } catch (error) {
    if (error instanceof wire.WireError) return 'WireError';
    throw error;
  }
}

const command: wire.WriteCommand = {
  sessionId: 2 ** 40,
  sequence: 300,
  ackedBelow: 7,
  retry: true,
  mutations: [
    { kind: 'set', key: Buffer.from('key'), value: Buffer.alloc(200, 1) },
    { kind: 'swap', key: Buffer.from('other'), expected: Buffer.from('x'), value: null },
  ],
};

const snapMessage = {
  ...newMessage(MsgType.MsgSnap, 1, 2),
  snapshot: {
    index: 500,
    term: 6,
    confState: { voters: [1, 2, 300], votersOutgoing: [], learners: [4], learnersNext: [], autoLeave: true },
  },
};

const samples: Readonly<Record<string, Buffer>> = {
  decodeBatchRequest: wire.encodeBatchRequest(1, 2, [
    {
      id: 3,
      shardId: 4,
      confVer: 5,
      version: 6,
      timeoutMs: 7000,
      consistency: 1,
      allowForward: true,
      kind: wire.OpKind.write,
      body: wire.encodeWriteCommand(command),
    },
  ]),
  decodeWriteCommand: wire.encodeWriteCommand(command),
  decodeRowsResult: wire.encodeRowsResult({
    rows: [{ key: Buffer.from('a'), value: Buffer.from('b') }],
    more: true,
    nextKey: Buffer.from('c'),
  }),
  decodeEntryPayload: wire.encodeEntryPayload([{ kind: 1, bytes: wire.encodeWriteCommand(command) }]),
  decodeEnvelope: wire.encodeEnvelope({
    hello: { clusterId: 1, fromId: 2, toId: 3, incarnation: 2 ** 41, protocolVersion: 1 },
    messages: [
      {
        groupId: 9,
        message: {
          ...newMessage(MsgType.MsgApp, 1, 2),
          entries: [{ term: 1, index: 2, type: 0, data: Buffer.alloc(9) }],
        },
      },
      { groupId: 9, message: snapMessage },
    ],
    beat: {
      sequence: 1,
      syncAgeMs: 2,
      heartbeats: [{ groupId: 1, from: 2, to: 3, term: 4, commit: 5, context: 6, sleep: 0 }],
      responses: [],
    },
    forwards: [{ id: 1, payload: Buffer.from('p') }],
    forwardResponses: [],
    snapshotOffers: [4],
    gone: [{ groupId: 1, replicaId: 2, confVer: 3, version: 4 }],
  }),
  decodeSnapshotFrame: wire.encodeSnapshotFrame({
    kind: 'head',
    hello: null,
    snapshotId: 3,
    head: { groupId: 9, message: snapMessage, descriptor: Buffer.from([8, 1]), formatVersion: 1 },
  }),
};

t.test('arbitrary bytes give a value or a WireError, never anything else', (t) => {
  for (const [name, decode] of Object.entries(decoders)) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (array) => {
        outcome(decode, Buffer.from(array));
      }),
    );
    t.pass(name);
  }
  t.end();
});

t.test('a frame with any one byte changed gives a value or a WireError', (t) => {
  for (const [name, sample] of Object.entries(samples)) {
    const decode = must(decoders[name], name);
    t.equal(outcome(decode, sample), 'value', name);
    for (let at = 0; at < sample.length; at++) {
      for (const value of [0, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(sample);
        changed[at] = value;
        outcome(decode, changed);
      }
    }
  }
  t.end();
});

t.test('a frame that ends early never reads what lies behind it', (t) => {
  for (const [name, sample] of Object.entries(samples)) {
    const decode = must(decoders[name], name);
    let refused = 0;
    for (let length = 0; length < sample.length; length++) {
      // The rest of the sample lies right behind the view.
      if (outcome(decode, sample.subarray(0, length)) === 'WireError') refused++;
    }
    t.ok(refused > sample.length / 2, `${name}: ${refused} of ${sample.length} prefixes refused`);
  }
  t.end();
});

t.test('a nested message cannot reach past its own end', (t) => {
  // The mutation says that it has 4 bytes, its key that it has 100.
  const inner = Buffer.from([(5 << 3) | 2, 4, (1 << 3) | 2, 100, 1, 2]);
  t.throws(() => wire.decodeWriteCommand(Buffer.concat([inner, Buffer.alloc(200)])), { name: 'WireError' });
  t.end();
});

t.test('unknown fields of every wire type are passed over', (t) => {
  const unknown = Buffer.from([
    ...[((100 << 3) & 0x7f) | 0x80, 100 >> 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ...[(14 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[(14 << 3) | 2, 3, 1, 2, 3],
    ...[(14 << 3) | 5, 1, 2, 3, 4],
  ]);
  for (const sample of [samples['decodeWriteCommand'], wire.encodeWriteCommand({ ...command, mutations: [] })]) {
    const plain = sample ?? Buffer.alloc(0);
    t.strictSame(wire.decodeWriteCommand(Buffer.concat([unknown, plain, unknown])), wire.decodeWriteCommand(plain));
  }
  t.end();
});

t.test('a known field with another wire type counts as unknown', (t) => {
  t.match(wire.decodeBatchRequest(Buffer.from([(1 << 3) | 2, 1, 9, (2 << 3) | 0, 5])), { clusterId: 0, storeId: 5 });
  t.end();
});

t.test('groups are refused', (t) => {
  t.throws(() => wire.decodeOp(Buffer.from([(14 << 3) | 3, (14 << 3) | 4])), {
    name: 'WireError',
    message: /wire type/,
  });
  t.end();
});

t.test('numbers are read back exactly, in as few bytes as protobuf needs', (t) => {
  fc.assert(
    fc.property(id, (value) => {
      const writer = new Writer(varintSize(value));
      writer.varint(value);
      alike(new Reader(writer.finish()).varint(), value);
    }),
  );
  t.pass();
  t.end();
});

t.test('numbers beyond 2^53 - 1 or ten bytes are refused, padded ones are read', (t) => {
  const read = (...array: number[]): number => new Reader(Buffer.from(array)).varint();
  t.equal(read(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), Number.MAX_SAFE_INTEGER);
  t.throws(() => read(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10), { name: 'WireError' }, '2^53');
  t.throws(() => read(...Array<number>(9).fill(0xff), 1), { name: 'WireError' }, '2^64 - 1');
  t.equal(read(0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00), 5);
  t.throws(() => read(...Array<number>(10).fill(0x80), 0), { name: 'WireError' }, 'eleven bytes');
  t.throws(() => new Reader(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x1f])).uint32(), { name: 'WireError' });
  t.throws(() => new Writer(8).varint(2 ** 53), { name: 'AssertionError' });
  t.throws(() => new Writer(8).varint(-1), { name: 'AssertionError' });
  t.throws(() => new Writer(8).varint(1.5), { name: 'AssertionError' });
  t.end();
});

t.test('a frame with more elements than the limit is refused', (t) => {
  const keys = (count: number): Buffer => Buffer.alloc(count * 2, Buffer.from([(1 << 3) | 2, 0]));
  t.equal(wire.decodeKeyList(keys(1000)).length, 1000);
  t.throws(() => wire.decodeKeyList(keys(frameItemsMax + 1)), { name: 'WireError', message: /elements/ });
  t.end();
});

t.test('a writer refuses to hand out a buffer that is not full', (t) => {
  fc.assert(
    fc.property(bytes, (value) => {
      const writer = new Writer(value.length + 1);
      writer.raw(value);
      t.throws(() => writer.finish(), { name: 'AssertionError' });
    }),
    { numRuns: 5 },
  );
  t.end();
});
