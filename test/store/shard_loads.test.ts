import t from 'tap';
import { ShardLoads } from '../../store/shard_loads.js';

/** A shard that takes operations at a steady rate, looked at once a second. */
function world(): {
  loads: ShardLoads;
  run: (seconds: number, readsPerS: number, writesPerS: number) => number;
} {
  let nowMs = 5;
  const shard = { shardId: 7, readsTaken: 0, writesTaken: 0 };
  const loads = new ShardLoads({ nowMs: () => nowMs });
  const run = (seconds: number, readsPerS: number, writesPerS: number): number => {
    let worthTelling = 0;
    for (let second = 0; second < seconds; second++) {
      nowMs += 1_000;
      shard.readsTaken += readsPerS;
      shard.writesTaken += writesPerS;
      loads.look(shard);
      if (!loads.isNews(7)) continue;
      worthTelling++;
      loads.tell(7);
    }
    return worthTelling;
  };
  return { loads, run };
}

t.test('a steady load is told as it is, in few reports', (t) => {
  const { loads, run } = world();
  const reports = run(120, 400, 100);
  const { readsPerS, writesPerS } = loads.tell(7);
  t.ok(Math.abs(readsPerS - 400) < 1, `${readsPerS} reads/s`);
  t.ok(Math.abs(writesPerS - 100) < 1, `${writesPerS} writes/s`);
  t.ok(reports >= 2 && reports <= 10, `${reports} reports`);
  t.equal(run(60, 400, 100), 0, 'no news is no report');
  t.end();
});

t.test('a load that ends is told to have ended', (t) => {
  const { loads, run } = world();
  run(60, 1_000, 0);
  t.ok(run(120, 0, 0) >= 2);
  t.same(loads.tell(7), { readsPerS: 0, writesPerS: 0 });
  t.end();
});

t.test('what came before the first look counts for nothing, and an unused shard takes no memory', (t) => {
  let nowMs = 0;
  const loads = new ShardLoads({ nowMs: () => nowMs });
  loads.look({ shardId: 1, readsTaken: 0, writesTaken: 0 });
  t.equal(loads.size, 0);
  loads.look({ shardId: 1, readsTaken: 1_000_000, writesTaken: 0 });
  t.same(loads.tell(1), { readsPerS: 0, writesPerS: 0 });
  nowMs += 1_000;
  loads.look({ shardId: 1, readsTaken: 1_000_000, writesTaken: 0 });
  t.same(loads.tell(1), { readsPerS: 0, writesPerS: 0 });
  t.equal(loads.size, 1);
  loads.forget(1);
  t.equal(loads.size, 0);
  t.end();
});

t.test('looks that follow too soon count together', (t) => {
  let nowMs = 0;
  const loads = new ShardLoads({ nowMs: () => nowMs });
  const shard = { shardId: 1, readsTaken: 1, writesTaken: 0 };
  loads.look(shard);
  for (let i = 0; i < 10_000; i++) {
    nowMs += 10;
    shard.readsTaken += 5;
    loads.look(shard);
  }
  const { readsPerS } = loads.tell(1);
  t.ok(Math.abs(readsPerS - 500) < 5, `${readsPerS} reads/s`);
  t.end();
});
