import t from 'tap';
import {
  snapshotParkedMs,
  snapshotReceivesMax,
  snapshotResumesFruitlessMax,
  snapshotResumeWaitMs,
  snapshotSendsMax,
  snapshotsParkedMax,
  snapshotWindowBytes,
} from '../../src/transport/limits.js';
import type { SnapshotSink } from '../../src/transport/transport.js';
import { ListSink, ListSource } from './support.js';
import { World } from './world.js';

/** Two hosts that met; `run` lets virtual time pass. */
async function pair(snapshotBytesPerSecond?: number) {
  const world = new World(1);
  const a = await world.start(1, 1, 7, snapshotBytesPerSecond);
  const b = await world.start(2, 1, 7, snapshotBytesPerSecond);
  await world.run(100);
  return { world, a, b };
}

/** A source that never ends. */
function endless(bytes: number): ListSource {
  const source = new ListSource(3, []);
  source.next = () => Promise.resolve(Buffer.alloc(bytes));
  return source;
}

/** How a promise ended, or `pending`. */
function watch(promise: Promise<void>): { outcome: unknown } {
  const watched: { outcome: unknown } = { outcome: 'pending' };
  promise.then(
    () => (watched.outcome = 'sent'),
    (error: unknown) => (watched.outcome = error),
  );
  return watched;
}

t.test('the head arrives whole', async (t) => {
  const { world, a, b } = await pair();
  const heads: unknown[] = [];
  b.heard.onSnapshot = (from, head) => {
    heads.push([from, head]);
    return Promise.resolve(new ListSink());
  };
  const source = new ListSource(3, []);
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(100);
  t.equal(sent.outcome, 'sent', 'a snapshot without rows is one too');
  t.same(heads, [[1, source.head]]);
});

t.test('a sink that does not keep up holds the sender to the window', async (t) => {
  const { world, a, b } = await pair(1e12);
  const sink = new ListSink();
  const writes: (() => void)[] = [];
  sink.write = () => new Promise((resolve) => writes.push(resolve));
  b.heard.onSnapshot = () => Promise.resolve(sink);
  let read = 0;
  const chunk = 256 * 1024;
  const source = endless(chunk);
  source.next = () => {
    read++;
    return Promise.resolve(Buffer.alloc(chunk));
  };
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(5_000);
  const window = snapshotWindowBytes / chunk;
  t.equal(read, window + 1, 'the window is on its way, and one chunk waits');
  t.equal(writes.length, 1, 'the next chunk is written once the last one is');
  writes[0]?.();
  await world.run(1_000);
  t.equal(read, window + 2);
  t.equal(sent.outcome, 'pending');
  await a.transport.close();
  t.match(sent.outcome, { name: 'SnapshotError', code: 'closed' });
  await world.run(100);
  t.equal(sink.outcome, null, 'a write in progress is waited for');
  writes[1]?.();
  await world.run(100);
  t.equal(sink.outcome, null, 'what came is kept for a while');
  await world.run(snapshotParkedMs);
  t.equal(sink.outcome, 'aborted');
});

t.test('the rate is that of all snapshots together', async (t) => {
  const { world, a, b } = await pair(1_000_000);
  const sinks: ListSink[] = [];
  b.heard.onSnapshot = () => {
    const sink = new ListSink();
    sinks.push(sink);
    return Promise.resolve(sink);
  };
  for (let i = 0; i < 3; i++) watch(a.transport.sendSnapshot(2, endless(50_000)));
  await world.run(10_000);
  const bytes = sinks.reduce((sum, { chunks }) => sum + chunks.length * 50_000, 0);
  t.equal(sinks.length, 3);
  t.ok(Math.abs(bytes - 10_000_000) < 300_000, `${bytes} bytes in 10 s at 1 MB/s`);
  await a.transport.close();
});

t.test('a refusal reaches the sender in the words of the handler', async (t) => {
  const { world, a, b } = await pair();
  for (const [from, to, hostId] of [
    [a, b, 2],
    [b, a, 1],
  ] as const) {
    to.heard.onSnapshot = () => Promise.reject(new Error('overlaps shard 12'));
    const source = new ListSource(3, [Buffer.alloc(10)]);
    const sent = watch(from.transport.sendSnapshot(hostId, source));
    await world.run(100);
    t.match(sent.outcome, { name: 'SnapshotError', code: 'refused', message: /overlaps shard 12/ });
    t.equal(source.closes, 1);
  }
});

t.test('a sink that fails to write, or to finish, is aborted once and its words reach the sender', async (t) => {
  const { world, a, b } = await pair();
  for (const method of ['write', 'finish'] as const) {
    const sink: SnapshotSink & { ends: number } = new ListSink();
    sink[method] = () => Promise.reject(new Error('disk is full'));
    b.heard.onSnapshot = () => Promise.resolve(sink);
    const source = new ListSource(3, [Buffer.alloc(10)]);
    const sent = watch(a.transport.sendSnapshot(2, source));
    await world.run(100);
    t.match(sent.outcome, { name: 'SnapshotError', code: 'refused', message: /disk is full/ });
    t.equal(sink.ends, 1);
    t.equal(source.closes, 1);
  }
});

t.test('a source that fails breaks the stream off and aborts the sink', async (t) => {
  const { world, a, b } = await pair();
  const sink = new ListSink();
  b.heard.onSnapshot = () => Promise.resolve(sink);
  const source = new ListSource(3, []);
  source.next = () => Promise.reject(new Error('iterator is gone'));
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(100);
  t.match(sent.outcome, { code: 'source', cause: { message: 'iterator is gone' } });
  t.equal(sink.outcome, 'aborted');
  t.equal(source.closes, 1);
});

t.test('a chunk over the limit is not sent', async (t) => {
  const { world, a, b } = await pair();
  b.heard.onSnapshot = () => Promise.resolve(new ListSink());
  const sent = watch(a.transport.sendSnapshot(2, endless(10 * 1024 * 1024)));
  await world.run(100);
  t.match(sent.outcome, { code: 'source', message: /passes the limit/ });
});

t.test('past the limit on sends the next one is told to come back, and gets its turn later', async (t) => {
  const { world, a, b } = await pair();
  b.heard.onSnapshot = () => new Promise(() => undefined);
  const waiting = Array.from({ length: snapshotSendsMax }, () => watch(a.transport.sendSnapshot(2, endless(10))));
  const source = endless(10);
  const late = watch(a.transport.sendSnapshot(2, source));
  await world.run(100);
  t.match(late.outcome, { code: 'busy' });
  t.equal(source.closes, 1);
  world.network.disconnect(1, 2);
  await world.run(1_000);
  for (const { outcome } of waiting) t.match(outcome, { code: 'broken' });
  b.heard.onSnapshot = () => Promise.resolve(new ListSink());
  const again = watch(a.transport.sendSnapshot(2, new ListSource(3, [])));
  await world.run(100);
  // The stuck handlers above still hold their places on the receiving side.
  t.match(again.outcome, { code: 'busy', message: /receiver/ });
});

t.test('past the limit on receives senders are told to come back', async (t) => {
  const world = new World(1);
  const receiver = await world.start(3);
  const [a, b] = [await world.start(1), await world.start(2)];
  await world.run(200);
  receiver.heard.onSnapshot = () => Promise.resolve(new ListSink());
  const sends = Array.from({ length: snapshotReceivesMax + 2 }, (_, i) =>
    watch((i % 2 === 0 ? a : b).transport.sendSnapshot(3, endless(1_000_000))),
  );
  await world.run(1_000);
  const busy = sends.filter(({ outcome }) => outcome !== 'pending');
  t.equal(busy.length, 2);
  for (const { outcome } of busy) t.match(outcome, { code: 'busy', message: /receiver/ });
  await Promise.all([a.transport.close(), b.transport.close()]);
});

t.test('a host that is not connected, or not known, is unreachable', async (t) => {
  const { a } = await pair();
  const source = new ListSource(3, []);
  await t.rejects(a.transport.sendSnapshot(9, source), { code: 'unreachable' });
  t.equal(source.closes, 1);
});

t.test('an offer that nobody comes for times out', async (t) => {
  const { world, b } = await pair();
  world.network.setPolicy(2, 1, { delayMinMs: 1, delayMaxMs: 1, dropRate: 1, duplicateRate: 0, reorderRate: 0 });
  const source = new ListSource(3, []);
  const sent = watch(b.transport.sendSnapshot(1, source));
  await world.run(9_000);
  t.equal(sent.outcome, 'pending');
  await world.run(2_000);
  t.match(sent.outcome, { code: 'timeout' });
  t.equal(source.closes, 1);
});

t.test('an offer ends at once when the peer goes away', async (t) => {
  const { world, a, b } = await pair();
  world.network.setPolicy(2, 1, { delayMinMs: 1, delayMaxMs: 1, dropRate: 1, duplicateRate: 0, reorderRate: 0 });
  const sent = watch(b.transport.sendSnapshot(1, new ListSource(3, [])));
  await world.run(100);
  t.equal(sent.outcome, 'pending');
  await a.transport.close();
  await world.run(100);
  t.match(sent.outcome, { code: 'broken' });
});

t.test('a receiver that stands still is given up after the idle timeout', async (t) => {
  const { world, a, b } = await pair();
  const sink = new ListSink();
  sink.write = () => new Promise(() => undefined);
  b.heard.onSnapshot = () => Promise.resolve(sink);
  const sent = watch(a.transport.sendSnapshot(2, new ListSource(3, [Buffer.alloc(10)])));
  await world.run(29_000);
  t.equal(sent.outcome, 'pending');
  await world.run(2_000);
  t.match(sent.outcome, { code: 'timeout' });
});

/** Chunks of 1,000 bytes, each filled with its number. */
function numbered(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.alloc(1_000, i));
}

t.test('a snapshot goes on where its stream broke, whichever side dialled', async (t) => {
  for (const dials of [true, false]) {
    const { world, a, b } = await pair(20_000);
    const [sender, receiver, to] = dials ? [a, b, 2] : [b, a, 1];
    const sink = new ListSink();
    let heads = 0;
    receiver.heard.onSnapshot = () => {
      heads++;
      return Promise.resolve(sink);
    };
    const chunks = numbered(100);
    const source = new ListSource(3, chunks);
    const sent = watch(sender.transport.sendSnapshot(to, source));
    const seen: number[] = [];
    for (let breaks = 0; breaks < 3; breaks++) {
      await world.run(1_200);
      seen.push(sink.chunks.length);
      world.network.disconnect(1, 2);
    }
    await world.run(10_000);
    t.equal(sent.outcome, 'sent');
    t.equal(heads, 1, 'the handler was asked once');
    t.same(sink.chunks, chunks, 'each chunk came once and in order');
    t.ok((seen[0] ?? 0) > 10 && (seen[1] ?? 0) > (seen[0] ?? 0) && (seen[2] ?? 0) > (seen[1] ?? 0), seen.join());
    t.equal(sink.outcome, 'finished');
    t.equal(sink.ends, 1);
    t.equal(source.closes, 1);
    await Promise.all([a.transport.close(), b.transport.close()]);
  }
});

t.test('acknowledgements that were lost with the stream are made up for', async (t) => {
  const { world, a, b } = await pair(1e12);
  const sink = new ListSink();
  b.heard.onSnapshot = () => Promise.resolve(sink);
  const chunks = numbered(40);
  // The receiver gets everything and its acks, all but the first, get nowhere.
  sink.write = (chunk) => {
    if (sink.chunks.length === 0) world.network.cut(2, 1);
    sink.chunks.push(Buffer.from(chunk));
    return Promise.resolve();
  };
  sink.finish = () => new Promise(() => undefined);
  const source = new ListSource(3, []);
  const left: (Buffer | null)[] = [...chunks, null];
  let goOn = (): void => undefined;
  source.next = async () => {
    if (left.length === 2) await new Promise<void>((resolve) => (goOn = resolve));
    return left.shift() ?? null;
  };
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(100);
  t.equal(sink.chunks.length, 39);
  world.network.disconnect(1, 2);
  world.network.healAll();
  goOn();
  await world.run(5_000);
  t.same(sink.chunks, chunks);
  t.equal(sent.outcome, 'pending', 'until the sink has finished');
});

t.test('a receiver that has lost what it had taken makes the sender begin anew', async (t) => {
  const { world, a, b } = await pair(20_000);
  const sinks: ListSink[] = [];
  const takes = (member: typeof b): void => {
    member.heard.onSnapshot = () => {
      const sink = new ListSink();
      sinks.push(sink);
      return Promise.resolve(sink);
    };
  };
  takes(b);
  const source = new ListSource(3, numbered(100));
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(1_000);
  await b.transport.close();
  t.equal(sinks[0]?.outcome, 'aborted');
  takes(await world.start(2, 2));
  await world.run(5_000);
  t.match(sent.outcome, { name: 'SnapshotError', code: 'lost' });
  t.equal(source.closes, 1);
  t.equal(sinks[1]?.outcome, 'aborted');
});

t.test('both sides give up some time after the other went away', async (t) => {
  const { world, a, b } = await pair(20_000);
  const sink = new ListSink();
  b.heard.onSnapshot = () => Promise.resolve(sink);
  const source = new ListSource(3, numbered(100));
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(1_000);
  world.network.partition(1, 2);
  world.network.disconnect(1, 2);
  await world.run(snapshotResumeWaitMs - 1_000);
  t.equal(sent.outcome, 'pending');
  await world.run(2_000);
  t.match(sent.outcome, { code: 'broken' });
  t.equal(source.closes, 1, 'the view is not kept open any longer');
  t.equal(sink.outcome, null);
  await world.run(snapshotParkedMs - snapshotResumeWaitMs);
  t.equal(sink.outcome, 'aborted');
});

t.test('a sender gives up when streams break again and again and carry nothing new', async (t) => {
  const { world, a, b } = await pair(1);
  const sinks: ListSink[] = [];
  b.heard.onSnapshot = () => {
    const sink = new ListSink();
    sinks.push(sink);
    world.runtime.after(5, () => world.network.disconnect(1, 2));
    return Promise.resolve(sink);
  };
  const source = new ListSource(3, []);
  let reads = 0;
  source.next = () => {
    reads++;
    return new Promise((resolve) => world.runtime.after(50, () => resolve(Buffer.alloc(10))));
  };
  const sent = watch(a.transport.sendSnapshot(2, source));
  await world.run(10_000);
  t.match(sent.outcome, { code: 'broken' });
  t.equal(sinks.length, snapshotResumesFruitlessMax + 1);
  t.ok(
    sinks.every(({ outcome }) => outcome === 'aborted'),
    'nothing is kept where nothing came',
  );
  t.equal(reads, 1, 'a chunk that was read is kept');
  t.equal(source.closes, 1);
});

t.test('another snapshot of the group, and too many others, throw half a snapshot away', async (t) => {
  const { world, a, b } = await pair(20_000);
  const sinks = new Map<number, ListSink[]>();
  b.heard.onSnapshot = (_from, head) => {
    const sink = new ListSink();
    sinks.set(head.groupId, [...(sinks.get(head.groupId) ?? []), sink]);
    return Promise.resolve(sink);
  };
  const groups = Array.from({ length: snapshotsParkedMax + 1 }, (_, i) => i + 1);
  for (const groupId of groups) watch(a.transport.sendSnapshot(2, new ListSource(groupId, numbered(100))));
  await world.run(1_000);
  // A sender that died: it does not come back, another process in its place does.
  await a.transport.close();
  await world.run(100);
  const outcomes = groups.map((groupId) => sinks.get(groupId)?.[0]?.outcome);
  t.same(outcomes.sort(), ['aborted', ...groups.slice(1).map(() => null)].sort(), 'the oldest went');
  const kept = groups.find((groupId) => sinks.get(groupId)?.[0]?.outcome === null) ?? 0;
  const successor = await world.start(1, 2);
  await world.run(1_000);
  const sent = watch(successor.transport.sendSnapshot(2, new ListSource(kept, numbered(2))));
  await world.run(1_000);
  t.equal(sent.outcome, 'sent');
  t.equal(sinks.get(kept)?.[0]?.outcome, 'aborted');
  t.same(sinks.get(kept)?.[1]?.chunks, numbered(2));
});
