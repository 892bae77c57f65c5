import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import { runSkerry } from '../cli/support/run_skerry.js';
import { KillLoad } from './kill_load.js';
import { LoopDisk, NoLoopDiskError } from './loop_disk.js';
import { clusterFor, eventually } from './support.js';

/** More often: CUTS=20 npx tsx test/cluster/power_cut.test.ts */
const cuts = Number(process.env['CUTS'] ?? 2);
const diskBytes = 1024 * 1024 * 1024;
const mib = 1024 * 1024;
const storeFlags = ['--raft-segment-bytes', String(8 * mib), '--disk-reserve-bytes', String(16 * mib)];

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000 + cuts * 60_000);

/** A disk, or why this machine has none. */
function diskOrReason(): LoopDisk | string {
  try {
    return LoopDisk.create(diskBytes);
  } catch (error) {
    if (!(error instanceof NoLoopDiskError)) throw error;
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return `NO POWER-CUT TEST ON A REAL FILE SYSTEM: ${error.message}${cause}`;
  }
}

const disk = diskOrReason();
const title = 'a power cut of the disk of all stores under load loses no acknowledged write';
if (typeof disk === 'string') t.test(title, { skip: disk }, () => undefined);
else void t.test(title, (t) => powerCuts(t, disk));

/** All three stores are on the one disk, so nothing survives a cut but what they synced. */
async function powerCuts(t: Test, disk: LoopDisk): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-power-'));
  const names = ['store-1', 'store-2', 'store-3'];
  for (const name of names) {
    mkdirSync(join(disk.path, name));
    symlinkSync(join(disk.path, name), join(dataDir, name));
  }
  // In the reverse order of what is registered: the stores stop, then the disk goes.
  t.teardown(() => {
    disk.destroy();
    rmSync(dataDir, { recursive: true });
  });
  const cluster = await clusterFor(t, { dataDir, storeFlags });
  await cluster.createKeyspace('default', { shards: 16 });
  const load = new KillLoad(cluster.placement, 64, 32);
  const witness = join(disk.path, 'not-synced');
  for (let cut = 1; cut <= cuts; cut++) {
    await load.start();
    const target = load.acked + 2_000;
    await eventually('there are acknowledged writes', () => (load.acked >= target ? true : null));
    writeFileSync(witness, `cut ${cut}`);
    disk.cutPower();
    // Nothing was told to them: they find that they cannot sync. What they acknowledge until then counts.
    await eventually('all stores end', () => (cluster.stores.some((store) => store.running) ? null : true));
    await load.stop();
    disk.restorePower();
    t.not(contentOf(witness), `cut ${cut}`, 'what was not synced is gone: the cut is a real one');
    for (const name of names) {
      const run = await runSkerry(['store', 'inspect', join(dataDir, name)]);
      t.equal(run.code, 0, `cut ${cut}: ${name} is whole, as store inspect sees it ${run.stderr}`);
    }
    await Promise.all(cluster.stores.map((store) => store.start()));
    t.same((await load.violations()).slice(0, 10), [], `cut ${cut}: every acknowledged write is there`);
  }
  t.comment(`${cuts} power cuts, ${load.acked} acknowledged writes`);
}

/** null: there is no such file. */
function contentOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
