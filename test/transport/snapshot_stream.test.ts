import { crc32 } from 'node:zlib';
import t from 'tap';
import { decodeSnapshotFrame, encodeSnapshotFrame, type SnapshotFrame } from '../../src/wire/index.js';
import { envelope, hello, RawStream, startRawServer } from './raw.js';
import { ListSink, ListSource, snapshotHead, startHost } from './support.js';

const head: SnapshotFrame = { kind: 'head', hello: hello(), snapshotId: 1, head: snapshotHead(3) };

function chunk(sequence: number, text: string, checksum = crc32(Buffer.from(text))): SnapshotFrame {
  return { kind: 'chunk', sequence, crc32: checksum, data: Buffer.from(text) };
}

async function nextFrame(call: RawStream): Promise<SnapshotFrame> {
  return decodeSnapshotFrame(await call.next());
}

function write(call: RawStream, ...frames: SnapshotFrame[]): void {
  call.write(...frames.map(encodeSnapshotFrame));
}

t.test('a sender that breaks the rules is told so, and its snapshot is thrown away', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const broken: [SnapshotFrame[], RegExp][] = [
    [[chunk(0, 'rows', 1)], /checksum/],
    [[chunk(0, 'rows'), chunk(2, 'rows')], /chunk 2 came in the place of chunk 1/],
    [[chunk(0, 'rows'), chunk(0, 'rows')], /chunk 0 came in the place of chunk 1/],
    [[chunk(0, 'rows'), { kind: 'end', chunks: 2, bytes: 8 }], /2 of 8 were sent/],
    [[chunk(0, 'rows'), { kind: 'end', chunks: 1, bytes: 5 }], /1 of 5 were sent/],
    [[head], /head frame/],
  ];
  for (const [frames, failure] of broken) {
    const sink = new ListSink();
    b.heard.onSnapshot = () => Promise.resolve(sink);
    const call = RawStream.dial(b.address, 'snapshot');
    const acks: SnapshotFrame[] = [];
    call.on('data', (frame: Buffer) => acks.push(decodeSnapshotFrame(frame)));
    write(call, head, ...frames);
    await call.over;
    await sink.ended();
    t.match(acks.at(-1), { kind: 'ack', done: false, failure });
    t.equal(sink.outcome, 'aborted');
    t.equal(sink.ends, 1);
  }
});

t.test('a sender that says that it gives up is taken at its word', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const sink = new ListSink();
  b.heard.onSnapshot = () => Promise.resolve(sink);
  const call = RawStream.dial(b.address, 'snapshot');
  write(call, head);
  t.match(await nextFrame(call), { kind: 'ack', chunks: 0 });
  write(call, chunk(0, 'rows'));
  t.match(await nextFrame(call), { kind: 'ack', chunks: 1 });
  write(call, { kind: 'ack', chunks: 0, done: false, failure: 'the iterator is gone' });
  await sink.ended();
  t.equal(sink.outcome, 'aborted');
});

t.test('a stream that breaks before its snapshot ends can be followed by another that brings the rest', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const begin = async (frame: SnapshotFrame) => {
    const call = RawStream.dial(b.address, 'snapshot');
    write(call, frame);
    return { call, ack: await nextFrame(call) };
  };
  const sinks: ListSink[] = [];
  b.heard.onSnapshot = () => {
    const sink = new ListSink();
    sinks.push(sink);
    return Promise.resolve(sink);
  };
  const first = await begin(head);
  write(first.call, chunk(0, 'rows'));
  t.match(await nextFrame(first.call), { kind: 'ack', chunks: 1 });
  first.call.close();
  const second = await begin(head);
  t.match(second.ack, { kind: 'ack', chunks: 1, done: false, failure: '' });
  write(second.call, chunk(1, 'more'));
  t.match(await nextFrame(second.call), { kind: 'ack', chunks: 2 });
  // The sender is back before this side has noticed anything.
  const third = await begin(head);
  t.match(third.ack, { kind: 'ack', chunks: 2 });
  third.call.close();
  const other = await begin({ ...head, snapshotId: 2 });
  t.match(other.ack, { kind: 'ack', chunks: 0 }, 'another snapshot begins at its beginning');
  t.equal(sinks[0]?.outcome, 'aborted');
  const last = await begin({ ...head, snapshotId: 2 });
  write(last.call, chunk(0, 'whole'), { kind: 'end', chunks: 1, bytes: 5 });
  t.match(await nextFrame(last.call), { kind: 'ack', chunks: 1, done: false });
  t.match(await nextFrame(last.call), { kind: 'ack', chunks: 1, done: true });
  t.equal(sinks.length, 3);
  t.equal(sinks[2]?.chunks.toString(), 'whole');
  for (const { call } of [second, other, last]) call.close();
});

t.test('streams with a wrong hello, or for a snapshot that does not wait, are refused', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const refused: [SnapshotFrame, RegExp][] = [
    [{ ...head, hello: hello({ clusterId: 8 }) }, /cluster 8/],
    [{ ...head, hello: null }, /no hello/],
    [{ kind: 'pull', hello: hello({ toId: 9 }), snapshotId: 1 }, /asked for host 9/],
    [{ kind: 'pull', hello: hello(), snapshotId: 1 }, /no snapshot 1 waits for host 1/],
    [{ kind: 'ack', chunks: 0, done: true, failure: '' }, /no hello/],
  ];
  for (const [frame, details] of refused) {
    const call = RawStream.dial(b.address, 'snapshot');
    write(call, frame);
    t.match(await call.over, { kind: 'refused', reason: details });
  }
});

t.test('a receiver that acknowledges what was not sent is given up', async (t) => {
  const server = await startRawServer({
    exchange: (call) => {
      call.once('data', () => call.write(envelope({ hello: hello({ fromId: 2, toId: 1 }) })));
    },
    snapshot: (call) => {
      call.on('data', () => call.write(encodeSnapshotFrame({ kind: 'ack', chunks: 5, done: false, failure: '' })));
    },
  });
  const a = await startHost({ hostId: 1 });
  t.teardown(async () => {
    await a.stop();
    server.stop();
  });
  a.transport.setPeer(2, server.address);
  await a.heard.until('peerUp');
  const source = new ListSource(3, [Buffer.from('rows')]);
  await t.rejects(a.transport.sendSnapshot(2, source), { code: 'broken', message: /5 chunks of 0/ });
  t.equal(source.closes, 1);
});
