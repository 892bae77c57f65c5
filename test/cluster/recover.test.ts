import t from 'tap';
import { SkerryClient, SkerryError } from '../../src/client/index.js';
import { VerifyOutcome } from '../../src/gen/skerry/v1/admin.js';
import { clusterFor, eventually, shardId, shardsOf, storesOf } from './support.js';

// A guard against hanging, not a measurement: a busy machine starts eight servers in here.
t.setTimeout(480_000);

const keyspace = 'default';
const shards = 20;
const keys = Array.from({ length: 200 }, (_, i) => `key/${i}`);

t.test(
  'two of five stores are lost for good: a person has their shards go on, and nothing acknowledged is missing',
  async (t) => {
    // Several reports of a store, so that one that a busy machine holds up is not taken for gone.
    const placementFlags = ['--store-disconnect-ms', '5000', '--balance', 'false'];
    const cluster = await clusterFor(t, { stores: 5, placementFlags });
    await cluster.createKeyspace(keyspace, { shards });
    const client = await SkerryClient.connect({ placement: cluster.placement });
    t.teardown(() => client.close());
    await Promise.all(keys.map((key) => client.set(key, `${key} before`)));
    await cluster.withAdmin(async (admin) => {
      // Compared at one index of the log: every replica has everything that was acknowledged.
      for (const shard of await shardsOf(admin, keyspace)) {
        const outcome = await eventually('every replica was compared', async () => {
          const compared = await admin.verifyShard(shardId(shard));
          return compared.outcome === VerifyOutcome.UNCHECKED ? null : compared.outcome;
        });
        t.equal(outcome, VerifyOutcome.CONSISTENT);
      }
      const [one, two] = cluster.stores;
      const dead = [one?.ready.storeId ?? 0, two?.ready.storeId ?? 0];
      const refusal = await admin.planRecovery(dead).catch((error: unknown) => error);
      t.match(refusal, { details: { reason: 'STORE_ALIVE' } }, 'stores that run are not given up');
      const before = await shardsOf(admin, keyspace);
      const lost = before.filter((s) => storesOf(s).filter((id) => dead.includes(id)).length === 2).map(shardId);
      t.ok(lost.length > 0, `${lost.length} of ${shards} shards have two of three voters there`);
      await one?.kill('SIGKILL');
      await two?.kill('SIGKILL');

      const plan = await eventually('a plan for the shards without a majority', async () => {
        try {
          const found = await admin.planRecovery(dead);
          return found.shards.length === lost.length ? found : null;
        } catch (error) {
          // They have yet to be missed.
          if (error instanceof SkerryError && error.code === 'FAILED_PRECONDITION') return null;
          throw error;
        }
      });
      t.same(
        plan.shards.map((s) => s.shardId),
        lost.sort((a, b) => a - b),
      );
      t.same(plan.unrecoverable, []);
      const hasty = await admin.applyRecovery(dead, plan.planId, 'yes').catch((error: unknown) => error);
      t.match(hasty, { code: 'INVALID_ARGUMENT' }, 'the sentence must be typed');
      const other = await admin.applyRecovery(dead, 'another', plan.confirmation).catch((error: unknown) => error);
      t.match(other, { details: { reason: 'PLAN_CHANGED' } }, 'and the plan be the one that was read');
      t.same(await admin.applyRecovery(dead, plan.planId, plan.confirmation, true), {
        shards: lost.length,
        underWay: 0,
      });
      t.same(await admin.recoveryStatus(), []);

      for (const key of keys) t.equal((await client.get(key))?.toString(), `${key} before`, key);
      await Promise.all(keys.map((key) => client.set(key, `${key} after`)));
      await eventually(
        'every shard has three replicas on the stores that are left',
        async () => {
          const now = await shardsOf(admin, keyspace);
          return now.every((s) => storesOf(s).length === 3 && !storesOf(s).some((id) => dead.includes(id)))
            ? true
            : null;
        },
        120_000,
      );

      for (const store of [one, two]) {
        // It may be ready for a moment before placement has refused it.
        await store?.start().catch(() => undefined);
        await eventually(`${store?.name} has ended`, () => (store?.running === true ? null : true));
      }
      for (const key of keys) t.equal((await client.get(key))?.toString(), `${key} after`, key);
    });
  },
);
