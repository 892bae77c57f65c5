import t from 'tap';
import { must } from '../../src/base/assert.js';
import { simCases } from './simulator/cases.js';
import type { CaseReport, Scale } from './simulator/sim_case.js';
import { runCase } from './simulator/sim_case.js';

/** The cases of the placement simulator at a size for tests; `npm run bench -- placement` runs the goals' own. */
function report(name: string, scale: Scale): CaseReport {
  const simCase = must(
    simCases.find((c) => c.name === name),
    `a case ${name}`,
  );
  return runCase(simCase, scale);
}

t.test('a new store takes its share with the fewest moves', async (t) => {
  const found = report('new-store', { stores: 3, shards: 120 });
  t.equal(found.moves, found.leastMoves);
  t.equal(found.movedTwice, 0);
  t.ok(found.replicaSpread <= 0.05, `replicas within ${found.replicaSpread}`);
  t.ok(found.leaderSpread <= 0.05, `leaders within ${found.leaderSpread}`);
});

t.test('a drained store ends empty, and hardly a shard is moved for anything else', async (t) => {
  const found = report('drain', { stores: 5, shards: 100 });
  t.ok(found.moves <= found.leastMoves * 1.1, `${found.moves} moves, at least ${found.leastMoves}`);
  t.ok(found.restAfterMs > 0, 'it comes to rest');
});

t.test('a lost rack is rebuilt by as many copies as it held', async (t) => {
  const found = report('rack-loss', { stores: 8, shards: 80 });
  t.ok(found.moves <= found.leastMoves * 1.1, `${found.moves} moves, at least ${found.leastMoves}`);
});

t.test('a flapping store moves no replica, and its leaders return a few times only', async (t) => {
  const shards = 100;
  const stores = 5;
  const found = report('flapping-store', { stores, shards });
  t.equal(found.moves, 0);
  const share = shards / stores;
  t.ok(found.transfers <= 5 * share, `${found.transfers} transfers for 20 returns of ${share} leaders`);
});

t.test('hot shards that one store leads are spread without a replica moved', async (t) => {
  const found = report('hot-shard', { stores: 6, shards: 120 });
  t.equal(found.moves, 0);
  t.ok(found.workSpread < 1, `no store bears twice its share: ${found.workSpread}`);
});

t.test('shards of very different sizes come to rest, none moved twice', async (t) => {
  const found = report('skewed-sizes', { stores: 5, shards: 200 });
  t.not(found.restAfterMs, -1, 'it comes to rest');
  t.equal(found.movedTwice, 0);
  t.ok(found.byteSpread <= 0.15, `bytes within ${found.byteSpread}`);
});
