import t from 'tap';
import { must } from '../../src/base/assert.js';
import { replicaKey } from '../../src/engine/keys.js';
import { ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import { Shard } from '../../src/gen/skerry/v1/meta.js';
import { StagedFileWriter } from '../../src/multiraft/staging.js';
import { confStateOf } from '../../store/descriptor.js';
import { encodeReplicaRecord } from '../../store/records.js';
import { RowTag } from '../../store/snapshot_format.js';
import { set } from './machine_driver.js';
import { packedSnapshot } from './packed_snapshot.js';
import { PlannerDriver } from './planner_driver.js';
import { StoreWorld } from './store_world.js';

const stagedFile = 'snapshot-7';
const path = `/staging/${stagedFile}`;

type Harm = (bytes: Buffer) => void;

/** The chunks of a snapshot of shard 1 with one row; or bytes that are none. */
function chunks(good: boolean): Buffer[] {
  if (!good) return [Buffer.alloc(64, 0xff)];
  return [packedSnapshot(RowTag.data, [['a', 'as of the snapshot']])];
}

/**
 * Store 3 lost its power while it installed a snapshot of shard 1, and is on again; it has a replica of shard 2 too. `stage`:
 * what was staged, null: the file is gone; `harm` is done to the file.
 */
async function afterCrash(stage: readonly Buffer[] | null, harm: Harm = () => undefined): Promise<StoreWorld> {
  const world = await StoreWorld.start(3);
  await world.create(
    world.shard(1, [1, 2, 3], { endKey: Buffer.from('m') }),
    world.shard(2, [1, 2, 3], { startKey: Buffer.from('m') }),
  );
  await world.write(await world.leaderOf(1), [set('a', '1')]);
  await world.clock.advance(1_000);
  const { engine, disk, store } = world.store(3);
  const { shard, applied } = must(store.replicas.machine(1), 'a replica');
  const meta = { index: applied.index + 10, term: applied.term, confState: confStateOf(shard) };
  if (stage !== null) {
    const descriptor = Buffer.from(Shard.encode(shard).finish());
    const header = { groupId: 1, replicaId: 13, meta, descriptor, formatVersion: 1 };
    const writing = async (): Promise<void> => {
      const writer = await StagedFileWriter.create(disk, '/staging', stagedFile, header);
      for (const chunk of stage) await writer.write(chunk);
      await writer.finish();
    };
    await world.clock.resolve(writing());
    harm(disk.contents(path));
  }
  const batch = engine.newBatch();
  const position = { appliedIndex: meta.index, appliedTerm: meta.term };
  const record = { replicaId: 13, state: ReplicaState.INSTALLING, shard, ...position, stagedFile };
  batch.put(replicaKey(1), encodeReplicaRecord(record));
  await world.clock.resolve(engine.write(batch).then(() => engine.sync()));
  await world.crashStore(3);
  await world.startStore(3);
  return world;
}

function quarantinedOn(world: StoreWorld, storeId: number): number[] {
  return [...world.store(storeId).store.replicas.quarantined()].map((machine) => machine.replicaId);
}

t.test('an unfinished installation is done again from the staged file', async (t) => {
  const world = await afterCrash(chunks(true));
  t.same(quarantinedOn(world, 3), []);
  t.ok(world.store(3).store.replicas.machine(1), 'the replica runs');
  await world.close();
});

const harms: readonly (readonly [string, readonly Buffer[] | null, Harm])[] = [
  ['is gone', null, () => undefined],
  [
    'has a flipped bit in a chunk',
    chunks(true),
    (bytes) => void bytes.writeUInt8(bytes.readUInt8(bytes.length - 30) ^ 1, bytes.length - 30),
  ],
  ['has no good header', chunks(true), (bytes) => void bytes.writeUInt8(0xee, 20)],
  ['has no good end', chunks(true), (bytes) => void bytes.writeUInt8(0xee, bytes.length - 1)],
  ['holds no rows', chunks(false), () => undefined],
];

for (const [what, stage, harm] of harms) {
  t.test(`when its staged file ${what}, that replica is quarantined, and the store starts`, async (t) => {
    const world = await afterCrash(stage, harm);
    for (let restart = 0; restart < 2; restart++) {
      t.same(world.store(3).fatals, []);
      t.same(quarantinedOn(world, 3), [13], `after ${restart} more restarts`);
      t.equal(world.store(3).store.multi.group(1), undefined, 'it has no peer: it neither votes nor acknowledges');
      t.ok(world.store(3).store.multi.group(2), 'the other replica runs');
      await world.crashStore(3);
      await world.startStore(3);
    }
    await world.crashStore(1);
    const written = await world.write(await world.leaderOf(2), [set('x', '1')], {}, { shardId: 2 });
    t.match(written, { applied: true }, 'and is of use');
    await world.close();
  });
}

t.test('a replica whose installation cannot be finished is made anew on its own store', async (t) => {
  const world = await afterCrash(null);
  const placement = new PlannerDriver(world, 3);
  await placement.until(() => placement.finished.length > 0, 'the repair ends');
  t.match(placement.finished, [{ plan: { kind: 'renew-damaged-replica' }, state: 'success' }]);
  await world.clock.advance(2_000);
  t.same(quarantinedOn(world, 3), []);
  await world.crashStore(await world.leaderOf(1));
  t.same(await world.get(await world.leaderOf(1), 'a'), { value: '1' });
  await world.close();
});
