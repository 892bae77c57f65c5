import t from 'tap';
import { Backoff } from '../../src/transport/backoff.js';
import { peersMax, reconnectMaxMs, reconnectMinMs, snapshotBurstMs } from '../../src/transport/limits.js';
import { RateLimiter } from '../../src/transport/rate_limiter.js';
import { VirtualRuntime } from './virtual_runtime.js';
import { World } from './world.js';

t.test('waits between attempts double up to their limit, with jitter, and begin anew after a success', (t) => {
  const backoff = new Backoff(new VirtualRuntime(1));
  const nominal = [50, 100, 200, 400, 500, 500, 500];
  t.equal(nominal[0], reconnectMinMs);
  t.equal(nominal.at(-1), reconnectMaxMs);
  const delays = nominal.map(() => backoff.delayMs());
  delays.forEach((delay, i) => {
    const most = nominal[i] ?? 0;
    t.ok(delay >= most / 2 && delay <= most, `${delay} ms within half and all of ${most} ms`);
  });
  t.equal(new Set(delays).size, delays.length, 'no two hosts beat in step');
  backoff.reset();
  t.ok(backoff.delayMs() <= reconnectMinMs);
  t.end();
});

t.test(
  'the limiter lets the rate through, a short burst after a pause, and chunks larger than the burst',
  async (t) => {
    const runtime = new VirtualRuntime(1);
    const limiter = new RateLimiter(runtime, 1_000_000);
    t.equal(limiter.take(50_000), 0, 'the first may go at once');
    t.equal(limiter.take(1_000), 50 - snapshotBurstMs, 'the next one waits until the debt is paid');
    await runtime.run(10_000);
    let waitedMs = 0;
    for (let i = 0; i < 1_000; i++) {
      const waitMs = limiter.take(10_000);
      waitedMs += waitMs;
      await runtime.run(waitMs);
    }
    t.ok(Math.abs(waitedMs - 10_000) <= 2 * snapshotBurstMs, `10 MB at 1 MB/s took ${waitedMs} ms`);
  },
);

t.test('a host is connected to no more hosts than the limit', async (t) => {
  const world = new World(1);
  const hub = await world.start(1_000_000);
  const dial = async (hostId: number) => {
    const { transport } = await world.lone(hostId);
    transport.setPeer(1_000_000, 'memory:1000000');
    return transport;
  };
  for (let hostId = 1; hostId <= peersMax; hostId++) await dial(hostId);
  await world.run(100);
  t.equal(hub.heard.count('peerUp'), peersMax);
  const late = await dial(peersMax + 1);
  await world.run(100);
  t.notOk(late.isConnected(1_000_000));
  t.match(late.stats().peers, [{ refusal: 'refusedByPeer' }]);
  hub.transport.removePeer(1);
  await world.run(30_000);
  t.equal(hub.transport.stats().peers.filter(({ connected }) => connected).length, peersMax);
});
