import fc from 'fast-check';
import t from 'tap';
import { Shard } from '../../src/gen/skerry/v1/meta.js';
import * as gen from '../../src/gen/skerry/v1/raft.js';
import { MsgType, newMessage, type ConfState, type Message, type SnapshotMeta } from '../../src/raft/message.js';
import * as wire from '../../src/wire/index.js';
import { alike, bytes, flag, id, record, same, uint32 } from './arbitraries.js';

const { decodeEnvelope, encodeEnvelope, decodeSnapshotFrame, encodeSnapshotFrame } = wire;

const wireType = fc.constantFrom(
  MsgType.MsgProp,
  MsgType.MsgApp,
  MsgType.MsgAppResp,
  MsgType.MsgVote,
  MsgType.MsgVoteResp,
  MsgType.MsgSnap,
  MsgType.MsgHeartbeat,
  MsgType.MsgHeartbeatResp,
  MsgType.MsgTransferLeader,
  MsgType.MsgTimeoutNow,
  MsgType.MsgReadIndex,
  MsgType.MsgReadIndexResp,
  MsgType.MsgPreVote,
  MsgType.MsgPreVoteResp,
);

const confState: fc.Arbitrary<ConfState> = record({
  voters: fc.array(id, { maxLength: 4 }),
  votersOutgoing: fc.array(id, { maxLength: 4 }),
  learners: fc.array(id, { maxLength: 3 }),
  learnersNext: fc.array(id, { maxLength: 3 }),
  autoLeave: flag,
});

const snapshotMeta: fc.Arbitrary<SnapshotMeta> = record({ index: id, term: id, confState });

const entry = record({
  term: id,
  index: id,
  type: fc.constantFrom(0 as const, 1 as const, 2 as const),
  data: bytes,
});

const message: fc.Arbitrary<Message> = record({
  type: wireType,
  to: id,
  from: id,
  term: id,
  logTerm: id,
  index: id,
  entries: fc.array(entry, { maxLength: 4 }),
  commit: id,
  vote: id,
  reject: flag,
  rejectHint: id,
  context: id,
  snapshot: fc.option(snapshotMeta),
  responses: fc.constant([]),
});

function toGenMessage(groupId: number, m: Message): gen.RaftMessage {
  return {
    type: m.type,
    shardId: groupId,
    from: m.from,
    to: m.to,
    term: m.term,
    logTerm: m.logTerm,
    index: m.index,
    entries: [...m.entries],
    commit: m.commit,
    vote: m.vote,
    reject: m.reject,
    rejectHint: m.rejectHint,
    context: m.context,
    snapshot: m.snapshot === null ? undefined : toGenMeta(m.snapshot),
  };
}

function toGenMeta(meta: SnapshotMeta): gen.SnapshotMeta {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = meta.confState;
  return {
    index: meta.index,
    term: meta.term,
    confState: {
      voters: [...voters],
      votersOutgoing: [...votersOutgoing],
      learners: [...learners],
      learnersNext: [...learnersNext],
      autoLeave,
    },
  };
}

const heartbeat: fc.Arbitrary<wire.GroupHeartbeat> = record({
  groupId: id,
  from: id,
  to: id,
  term: id,
  commit: id,
  context: id,
  sleep: fc.constantFrom(0, 1, 2),
});

const beat: fc.Arbitrary<wire.Beat> = record({
  sequence: id,
  syncAgeMs: uint32,
  heartbeats: fc.array(heartbeat, { maxLength: 5 }),
  responses: fc.array(heartbeat, { maxLength: 5 }),
});

function toGenColumns(rows: readonly wire.GroupHeartbeat[]): gen.HeartbeatColumns | undefined {
  if (rows.length === 0) return undefined;
  return {
    shardIds: rows.map((row) => row.groupId),
    from: rows.map((row) => row.from),
    to: rows.map((row) => row.to),
    terms: rows.map((row) => row.term),
    commits: rows.map((row) => row.commit),
    contexts: rows.map((row) => row.context),
    sleeps: rows.some((row) => row.sleep !== 0) ? rows.map((row) => row.sleep) : [],
  };
}

const hello = record({ clusterId: id, fromId: id, toId: id, incarnation: id, protocolVersion: uint32 });
const forwarded = record({ id, payload: bytes });

const envelope: fc.Arbitrary<wire.Envelope> = record({
  hello: fc.option(hello),
  messages: fc.array(record({ groupId: id, message }), { maxLength: 4 }),
  beat: fc.option(beat),
  forwards: fc.array(forwarded, { maxLength: 3 }),
  forwardResponses: fc.array(forwarded, { maxLength: 3 }),
  snapshotOffers: fc.array(id, { maxLength: 3 }),
  gone: fc.array(record({ groupId: id, replicaId: id, confVer: id, version: id }), { maxLength: 3 }),
});

function toGenEnvelope(e: wire.Envelope): gen.Envelope {
  return {
    hello: e.hello ?? undefined,
    messages: e.messages.map(({ groupId, message: m }) => toGenMessage(groupId, m)),
    beat:
      e.beat === null
        ? undefined
        : {
            sequence: e.beat.sequence,
            syncAgeMs: e.beat.syncAgeMs,
            heartbeats: toGenColumns(e.beat.heartbeats),
            responses: toGenColumns(e.beat.responses),
          },
    forwards: [...e.forwards],
    forwardResponses: [...e.forwardResponses],
    snapshotOffers: e.snapshotOffers.map((snapshotId) => ({ snapshotId })),
    gone: e.gone.map(({ groupId, replicaId, confVer, version }) => ({
      shardId: groupId,
      replicaId,
      epoch: { confVer, version },
    })),
  };
}

t.test('envelopes mean the same to the generated code, both ways', (t) => {
  fc.assert(
    fc.property(envelope, (e) => {
      const ours = encodeEnvelope(e);
      const theirs = gen.Envelope.encode(toGenEnvelope(e)).finish();
      // The generated code writes empty packed fields, so bytes are compared after it has read and written ours.
      same(gen.Envelope.encode(gen.Envelope.decode(ours)).finish(), theirs);
      alike(decodeEnvelope(Buffer.from(theirs)), e);
      alike(decodeEnvelope(ours), e);
    }),
  );
  t.pass();
  t.end();
});

t.test('messages without packed fields are byte for byte those of the generated code', (t) => {
  fc.assert(
    fc.property(id, message, (groupId, m) => {
      const plain = { ...m, snapshot: null };
      const ours = encodeEnvelope({
        hello: null,
        messages: [{ groupId, message: plain }],
        beat: null,
        forwards: [],
        forwardResponses: [],
        snapshotOffers: [],
        gone: [],
      });
      const theirs = gen.Envelope.create({ messages: [toGenMessage(groupId, plain)] });
      same(ours, gen.Envelope.encode(theirs).finish());
    }),
  );
  t.pass();
  t.end();
});

t.test('columns and lists that come unpacked are read too', (t) => {
  const unpacked = Buffer.from([...[(3 << 3) | 2, 14, (3 << 3) | 2, 12], ...[8, 5, 16, 1, 24, 2, 32, 3, 40, 4, 48, 0]]);
  t.same(decodeEnvelope(unpacked).beat?.heartbeats, [
    { groupId: 5, from: 1, to: 2, term: 3, commit: 4, context: 0, sleep: 0 },
  ]);
  t.end();
});

t.test('columns of different lengths are malformed', (t) => {
  const bad = gen.Envelope.encode(
    gen.Envelope.create({
      beat: {
        heartbeats: {
          shardIds: [1, 2],
          from: [1, 2],
          to: [1],
          terms: [1, 2],
          commits: [1, 2],
          contexts: [0, 0],
          sleeps: [],
        },
      },
    }),
  ).finish();
  t.throws(() => decodeEnvelope(Buffer.from(bad)), { name: 'WireError', message: /columns/ });
  t.end();
});

t.test('message types that stay in their process, and unknown ones, are refused on the wire', (t) => {
  const withType = (type: number): Buffer =>
    Buffer.from(gen.Envelope.encode(gen.Envelope.create({ messages: [{ type, shardId: 1 }] })).finish());
  for (const type of [
    MsgType.MsgHup,
    MsgType.MsgBeat,
    MsgType.MsgStorageAppend,
    MsgType.MsgStorageApplyResp,
    24,
    999,
  ]) {
    t.throws(() => decodeEnvelope(withType(type)), { name: 'WireError' }, `type ${type}`);
  }
  const local = newMessage(MsgType.MsgStorageAppend, 1, 2);
  t.throws(
    () =>
      encodeEnvelope({
        hello: null,
        messages: [{ groupId: 1, message: local }],
        beat: null,
        forwards: [],
        forwardResponses: [],
        snapshotOffers: [],
        gone: [],
      }),
    { name: 'AssertionError' },
  );
  t.end();
});

const snapMessage = fc.tuple(message, snapshotMeta).map(([m, snapshot]) => ({ ...m, type: MsgType.MsgSnap, snapshot }));

const snapshotFrame: fc.Arbitrary<wire.SnapshotFrame> = fc.oneof(
  record({
    kind: fc.constant('head' as const),
    hello: fc.option(hello),
    snapshotId: id,
    head: record({
      groupId: id,
      message: snapMessage,
      descriptor: fc.constant(Buffer.from([8, 5])),
      formatVersion: uint32,
    }),
  }),
  record({ kind: fc.constant('chunk' as const), sequence: id, crc32: uint32, data: bytes }),
  record({ kind: fc.constant('end' as const), chunks: id, bytes: id }),
  record({ kind: fc.constant('ack' as const), chunks: id, done: flag, failure: fc.string({ unit: 'grapheme' }) }),
  record({ kind: fc.constant('pull' as const), hello: fc.option(hello), snapshotId: id }),
);

function genFrame(f: wire.SnapshotFrame): NonNullable<gen.SnapshotFrame['frame']> {
  switch (f.kind) {
    case 'head':
      return {
        $case: 'head',
        value: {
          hello: f.hello ?? undefined,
          snapshotId: f.snapshotId,
          message: toGenMessage(f.head.groupId, f.head.message),
          shard: Shard.create({ shardId: 5 }),
          formatVersion: f.head.formatVersion,
        },
      };
    case 'chunk':
      return { $case: 'chunk', value: { sequence: f.sequence, crc32: f.crc32, data: f.data } };
    case 'end':
      return { $case: 'end', value: { chunks: f.chunks, bytes: f.bytes } };
    case 'ack':
      return { $case: 'ack', value: { chunks: f.chunks, done: f.done, failure: f.failure } };
    case 'pull':
      return { $case: 'pull', value: { hello: f.hello ?? undefined, snapshotId: f.snapshotId } };
  }
}

t.test('snapshot frames mean the same to the generated code, both ways', (t) => {
  fc.assert(
    fc.property(snapshotFrame, (f) => {
      const ours = encodeSnapshotFrame(f);
      const theirs = gen.SnapshotFrame.encode({ frame: genFrame(f) }).finish();
      same(gen.SnapshotFrame.encode(gen.SnapshotFrame.decode(ours)).finish(), theirs);
      alike(decodeSnapshotFrame(ours), f);
      alike(decodeSnapshotFrame(Buffer.from(theirs)), f);
    }),
  );
  t.pass();
  t.end();
});

t.test('a snapshot frame without content, or a head without its MsgSnap, is malformed', (t) => {
  t.throws(() => decodeSnapshotFrame(Buffer.alloc(0)), { name: 'WireError' });
  const head = gen.SnapshotFrame.encode(
    gen.SnapshotFrame.create({ frame: { $case: 'head', value: { snapshotId: 1 } } }),
  );
  t.throws(() => decodeSnapshotFrame(Buffer.from(head.finish())), { name: 'WireError' });
  t.end();
});
