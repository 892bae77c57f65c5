import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { ServerIsBusy } from '../../src/gen/skerry/v1/error.js';
import type { WireOp } from '../../src/wire/kv_codec.js';
import { decodeErrorResult, encodeWriteCommand, OpKind, ResultKind } from '../../src/wire/kv_codec.js';
import { calmLink } from '../../src/transport/memory_network.js';
import { Load } from '../../store/admission.js';
import type { KvService } from '../../store/kv_service.js';
import {
  busyRetryAfterMs,
  busyRetryAfterMsMax,
  engineBacklogBytesMax,
  shardOpsMax,
  storeOpsMax,
  streamOpsMax,
  writeDelayIntervalMs,
  writeDelayTargetMs,
  writeWindowOpsMin,
} from '../../store/limits.js';
import { set } from './machine_driver.js';
import { StoreWorld } from './store_world.js';

const op: WireOp = {
  id: 1,
  shardId: 1,
  confVer: 1,
  version: 1,
  timeoutMs: 0,
  consistency: 0,
  allowForward: false,
  kind: OpKind.get,
  body: Buffer.from('a'),
};

async function oneShard(): Promise<{ world: StoreWorld; kv: KvService }> {
  const world = await StoreWorld.start();
  await world.create(world.shard(1, [1, 2, 3]));
  return { world, kv: world.store(await world.leaderOf(1)).store.kv };
}

const writeOp: WireOp = {
  ...op,
  kind: OpKind.write,
  body: encodeWriteCommand({ sessionId: 0, sequence: 0, ackedBelow: 0, retry: false, mutations: [set('a', '1')] }),
};

/** Sends so many operations in one turn, from streams of at most `perStream`. Returns the refusals, and the number of other answers once all came. */
async function flood(
  { world, kv }: { world: StoreWorld; kv: KvService },
  count: number,
  perStream: number,
  one: WireOp = op,
): Promise<{ refusals: ServerIsBusy[]; served: number }> {
  const refusals: ServerIsBusy[] = [];
  let served = 0;
  let load = new Load();
  for (let i = 0; i < count; i++) {
    if (i % perStream === 0) load = new Load();
    kv.execute(one, load, (kind, body) => {
      if (kind !== ResultKind.error) {
        served++;
        return;
      }
      const { detail } = decodeErrorResult(body);
      if (detail?.$case !== 'serverIsBusy') throw new Error(`refused with ${detail?.$case ?? 'nothing'}`);
      refusals.push(detail.value);
    });
  }
  kv.flush();
  await world.clock.until(() => served + refusals.length === count, 'everything is answered');
  return { refusals, served };
}

t.test(
  'past what one client may have in flight it is refused with a hint when to return, and served again then',
  async (t) => {
    const parts = await oneShard();
    const { refusals, served } = await flood(parts, streamOpsMax + 3, streamOpsMax + 3);
    t.equal(served, streamOpsMax, 'what was taken in is served');
    t.same(
      refusals.map(({ limit, retryAfterMs }) => [limit, retryAfterMs]),
      [1, 2, 3].map(() => ['stream_in_flight', busyRetryAfterMs]),
    );
    t.equal(parts.kv.counters.busy, 3);
    t.equal(parts.kv.admission.store.ops, 0, 'nothing is left in flight');
    t.equal((await flood(parts, 5, 5)).served, 5);
    await parts.world.close();
  },
);

t.test('past what one shard may have in flight everybody is refused there, with the hint', async (t) => {
  const parts = await oneShard();
  const { refusals, served } = await flood(parts, shardOpsMax + 2, streamOpsMax);
  t.equal(served, shardOpsMax);
  t.same(
    refusals.map(({ limit, retryAfterMs }) => [limit, retryAfterMs]),
    [1, 2].map(() => ['shard_in_flight', busyRetryAfterMs]),
  );
  await parts.world.close();
});

t.test('past what the store may have in flight a shard that is not busy is refused as well', async (t) => {
  const parts = await oneShard();
  const { admission } = parts.kv;
  const perShard = storeOpsMax / 16;
  let refused = 0;
  for (let i = 0; i < storeOpsMax; i++) {
    if (admission.admit(null, 100 + Math.floor(i / perShard), 10) !== null) refused++;
  }
  t.equal(refused, 0);
  const { refusals } = await flood(parts, 1, 1);
  t.match(must(refusals[0], 'a refusal'), { limit: 'store_in_flight', retryAfterMs: busyRetryAfterMs });
  admission.release(null, 100, 10);
  t.equal((await flood(parts, 1, 1)).served, 1, 'room that is given back is used');
  await parts.world.close();
});

t.test('writes are refused while the engine is behind, and taken when it has caught up', async (t) => {
  const { world, kv } = await oneShard();
  const leader = await world.leaderOf(1);
  const { engine } = world.store(leader).store.replicas;
  let backlog = engineBacklogBytesMax + 1;
  Object.defineProperty(engine, 'writeBacklogBytes', { configurable: true, get: () => backlog });
  const refused = await world.write(leader, [set('a', '1')]);
  t.match(refused, { error: /^serverIsBusy / });
  t.equal(kv.counters.busy, 1);
  backlog = 0;
  t.match(await world.write(leader, [set('a', '1')]), { applied: true });
  await world.close();
});

t.test(
  'while all writes take too long new ones are refused with that time as the hint, and reads are not',
  async (t) => {
    const parts = await oneShard();
    const { world, kv } = parts;
    const { writes } = kv.admission;
    const count = 4 * writeWindowOpsMin;
    const slow = writeDelayTargetMs / 2 + 50;
    world.network.setDefaultPolicy({ ...calmLink, delayMinMs: slow, delayMaxMs: slow });
    t.equal((await flood(parts, count, count, writeOp)).refusals.length, 0, 'nobody knows yet');
    t.equal(writes.opsMax, count / 2, 'half of what was under way');
    const { refusals, served } = await flood(parts, count, count, writeOp);
    t.equal(served, count / 2);
    t.equal(refusals.length, count / 2);
    const [first] = refusals;
    t.match(first, { limit: 'write_delay' });
    t.ok(must(first, 'a refusal').retryAfterMs >= writeDelayTargetMs);
    t.ok(must(first, 'a refusal').retryAfterMs <= busyRetryAfterMsMax);
    t.equal(kv.admission.refusals.write_delay, count / 2);
    t.equal((await flood(parts, count, count)).served, count, 'reads are taken');
    t.equal(writes.ops, 0, 'nothing is left under way');

    world.network.setDefaultPolicy(calmLink);
    for (let i = 0; i < 4; i++) {
      await world.clock.advance(writeDelayIntervalMs);
      t.equal((await flood(parts, 1, 1, writeOp)).served, 1);
    }
    t.equal((await flood(parts, count, count, writeOp)).served, count, 'soon after as many as before are taken');
    await world.close();
  },
);

t.test('a write whose caller has given up counts until its outcome is there', async (t) => {
  const { world, kv } = await oneShard();
  world.network.setDefaultPolicy({ ...calmLink, delayMinMs: 100, delayMaxMs: 100 });
  const result = await world.write(await world.leaderOf(1), [set('a', '1')], {}, { timeoutMs: 20 });
  t.match(result, { error: /^undetermined/ });
  t.equal(kv.admission.store.ops, 0);
  t.equal(kv.admission.writes.ops, 1);
  await world.clock.until(() => kv.admission.writes.ops === 0, 'the outcome is there');
  await world.close();
});
