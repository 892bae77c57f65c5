import { join } from 'node:path';
import t from 'tap';
import { z } from 'zod';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { runSkerry } from '../cli/support/run_skerry.js';
import { KillLoad } from './kill_load.js';
import { clusterFor, eventually } from './support.js';

/**
 * All stores are killed at once under full load, again and again. Few times in CI; for a long run:
 *
 *     KILLS=50 npx tsx test/cluster/kill_all.test.ts
 */
const kills = Number(process.env['KILLS'] ?? 3);
const writers = 128;
const registersPerWriter = 32;
/** Writes that must have been acknowledged since the last start before the next kill. */
const ackedBeforeKill = 3_000;

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000 + kills * 60_000);

const inspected = z.object({
  identity: z.object({ storeId: z.number() }),
  raftLog: z.object({
    missing: z.null(),
    groups: z.array(z.object({ damaged: z.boolean() })),
    losses: z.array(z.any()),
  }),
});
const verified = z.array(z.object({ shardId: z.number(), outcome: z.string() }));

t.test('kill -9 of all stores at once under load, and again, loses no acknowledged write', async (t) => {
  const shards = 16;
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards });
  const load = new KillLoad(cluster.placement, writers, registersPerWriter);
  let violations = 0;
  let refusedStarts = 0;
  for (let kill = 1; kill <= kills; kill++) {
    await load.start();
    const target = load.acked + ackedBeforeKill;
    await eventually('there are acknowledged writes', () => (load.acked >= target ? true : null));
    const killed = Promise.all(cluster.stores.map((store) => store.kill('SIGKILL')));
    await load.stop();
    await killed;
    if (kill === kills) {
      await t.test('skerry store inspect reads what such a kill leaves', async (t) => {
        for (const store of cluster.stores) {
          const directory = join(cluster.dataDir, store.name);
          const run = await runSkerry(['store', 'inspect', directory, '--output', 'json']);
          t.equal(run.code, 0, `${store.name}: ${run.stderr}`);
          const { identity, raftLog } = inspected.parse(JSON.parse(run.stdout.toString()));
          t.equal(identity.storeId, store.ready.storeId);
          t.ok(raftLog.groups.length >= shards, `${raftLog.groups.length} shards`);
          t.same(raftLog.losses, []);
          t.notOk(raftLog.groups.some((group) => group.damaged));
        }
      });
    }
    const starts = await Promise.allSettled(cluster.stores.map((store) => store.start()));
    for (const start of starts) {
      if (start.status === 'fulfilled') continue;
      refusedStarts++;
      t.fail(`kill ${kill}: a store refuses to start: ${String(start.reason)}`);
    }
    const lost = await load.violations();
    violations += lost.length;
    t.same(
      lost.slice(0, 10),
      [],
      `kill ${kill}: all ${writers * registersPerWriter} registers hold what was acknowledged`,
    );
  }
  const summary = `${kills} kills of all ${cluster.stores.length} stores, ${load.acked} acknowledged writes, ${violations} lost or made up, ${refusedStarts} refused starts`;
  t.comment(summary);

  await t.test('the replicas of every shard are equal afterwards', async (t) => {
    const env = { SKERRY_PLACEMENT: cluster.placement };
    const consistent = await eventually('every replica is there and was compared', async () => {
      const run = await runSkerry(['shard', 'verify', '--keyspace', 'default', '--output', 'json'], { env });
      // Without an answer of placement in time it prints nothing.
      if (run.stdout.length === 0 && run.code === exitCodes.unavailable) return null;
      const views = verified.parse(JSON.parse(run.stdout.toString()));
      const different = views.filter((view) => view.outcome === 'inconsistent');
      t.same(different, [], 'no replica differs');
      return run.code === 0 ? views : null;
    });
    t.equal(consistent.length, shards);
  });
});
