import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { ServerIsBusy } from '../../src/gen/skerry/v1/error.js';
import type { WireOp } from '../../src/wire/kv_codec.js';
import { decodeErrorResult, OpKind, ResultKind } from '../../src/wire/kv_codec.js';
import { Load } from '../../store/admission.js';
import type { KvService } from '../../store/kv_service.js';
import { busyRetryAfterMs, engineBacklogBytesMax, shardOpsMax, storeOpsMax, streamOpsMax } from '../../store/limits.js';
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

/** Sends so many reads in one turn, from streams of at most `perStream`. Returns the refusals, and the number of other answers once all came. */
async function flood(
  { world, kv }: { world: StoreWorld; kv: KvService },
  count: number,
  perStream: number,
): Promise<{ refusals: ServerIsBusy[]; served: number }> {
  const refusals: ServerIsBusy[] = [];
  let served = 0;
  let load = new Load();
  for (let i = 0; i < count; i++) {
    if (i % perStream === 0) load = new Load();
    kv.execute(op, load, (kind, body) => {
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
