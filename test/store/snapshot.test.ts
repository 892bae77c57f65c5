import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { Engine, EngineBatch } from '../../src/engine/engine.js';
import { dataRange } from '../../src/engine/keys.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import { ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import type { StagedSnapshot, StateSnapshot } from '../../src/multiraft/host.js';
import { confStateOf } from '../../store/descriptor.js';
import { snapshotChunkBytesMax } from '../../store/limits.js';
import { RowTag, SnapshotFormatError } from '../../store/snapshot_format.js';
import { installShardSnapshot } from '../../store/snapshot_install.js';
import { MachineDriver, recordOf, sessionsOf, set, testShard, write } from './machine_driver.js';
import { packedSnapshot } from './packed_snapshot.js';

async function chunksOf(snapshot: StateSnapshot): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for (let chunk = await snapshot.next(); chunk !== null; chunk = await snapshot.next())
    chunks.push(Buffer.from(chunk));
  await snapshot.close();
  return chunks;
}

function staged(chunks: readonly Buffer[]): StagedSnapshot {
  return {
    path: '/staging/snapshot-1',
    chunks: chunks.length,
    bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    async *read() {
      yield* chunks;
    },
  };
}

/** Every user row in the engine, by key. */
async function allRows(engine: Engine): Promise<Map<string, string>> {
  const { start, end } = dataRange(1, Buffer.alloc(0), Buffer.alloc(0));
  const page = await engine.scan({ start, end, limit: 10_000, maxBytes: 1 << 26, reverse: false, keysOnly: false });
  return new Map(page.rows.map(({ key, value }) => [key.subarray(5).toString(), value.toString()]));
}

/** A leader with some rows and a session, and its snapshot. */
async function makeSnapshot(): Promise<{ snapshot: StateSnapshot; chunks: Buffer[] }> {
  const leader = new MachineDriver(new MemoryEngine(), testShard({ endKey: Buffer.from('m') }));
  await leader.entry(write([set('a', 'new-a'), set('c', 'new-c')], { sessionId: 5, sequence: 3 }));
  await leader.entry(write([set('d', '')]));
  const snapshot = await leader.machine.openSnapshot();
  return { snapshot, chunks: await chunksOf(snapshot) };
}

t.test('a snapshot carries rows, sessions, descriptor and position to another store', async (t) => {
  const { snapshot, chunks } = await makeSnapshot();
  t.match(snapshot.meta, { index: 7, term: 6, confState: confStateOf(testShard()) });
  const follower = new MachineDriver(new MemoryEngine(), testShard());
  await follower.entry(write([set('b', 'old-b'), set('x', 'old-x')], { sessionId: 9, sequence: 1 }));
  await follower.machine.installSnapshot(snapshot.meta, snapshot.descriptor, staged(chunks));
  t.same(
    [...(await allRows(follower.engine))],
    [
      ['a', 'new-a'],
      ['c', 'new-c'],
      ['d', ''],
    ],
  );
  t.match(await recordOf(follower.engine, 1), {
    state: ReplicaState.NORMAL,
    replicaId: 11,
    appliedIndex: 7,
    stagedFile: '',
  });
  t.same(follower.machine.shard.endKey, Buffer.from('m'));
  t.same(
    [...(await sessionsOf(follower.engine, 1)).rows()].map(([id]) => id),
    [5],
  );
  t.equal(follower.machine.phase, 'normal');
});

t.test('a snapshot stays as it was opened while the shard goes on', async (t) => {
  const leader = new MachineDriver(new MemoryEngine());
  await leader.entry(write([set('a', '1')]));
  const snapshot = await leader.machine.openSnapshot();
  await leader.entry(write([set('a', '2'), set('b', '3')]));
  const follower = new MachineDriver(new MemoryEngine());
  await follower.machine.installSnapshot(snapshot.meta, snapshot.descriptor, staged(await chunksOf(snapshot)));
  t.same([...(await allRows(follower.engine))], [['a', '1']]);
  t.match(await recordOf(follower.engine, 1), { appliedIndex: 6 });
});

t.test('values larger than a chunk pass through chunks of bounded size', async (t) => {
  const leader = new MachineDriver(new MemoryEngine());
  const large = 'x'.repeat(3 * snapshotChunkBytesMax + 17);
  await leader.entry(write([set('a', large), set('b', 'small')]));
  const snapshot = await leader.machine.openSnapshot();
  const chunks = await chunksOf(snapshot);
  t.ok(chunks.every((chunk) => chunk.length <= snapshotChunkBytesMax));
  const follower = new MachineDriver(new MemoryEngine());
  await follower.machine.installSnapshot(snapshot.meta, snapshot.descriptor, staged(chunks));
  t.equal((await allRows(follower.engine)).get('a'), large);
});

class PowerLoss extends Error {}

/** Passes calls on until a number of writes and syncs have been taken; the next one finds no power. */
class FailingEngine {
  readonly inner: MemoryEngine;
  steps = 0;
  private readonly failAt: number;

  constructor(inner: MemoryEngine, failAt: number) {
    this.inner = inner;
    this.failAt = failAt;
  }

  /** The engine that a state machine sees. */
  get engine(): Engine {
    const { inner } = this;
    const step = (): void => {
      if (this.steps === this.failAt) throw new PowerLoss();
      this.steps++;
    };
    return Object.assign(Object.create(inner) as Engine, {
      write: async (batch: EngineBatch) => {
        step();
        await inner.write(batch);
      },
      sync: async () => {
        step();
        await inner.sync();
      },
      newBatch: () => inner.newBatch(),
      getMany: (keys: readonly Buffer[]) => inner.getMany(keys),
    });
  }
}

t.test('a crash at any step of an installation leaves the old state or is finished by the next start', async (t) => {
  const { snapshot, chunks } = await makeSnapshot();
  const fresh = [...(await allRows((await installed(snapshot, chunks)).engine))];
  let steps = 0;
  for (let failAt = 0, done = false; !done; failAt++) {
    for (const luck of [0, 0.5, 0.999]) {
      const memory = new MemoryEngine();
      const before = new MachineDriver(memory, testShard());
      await before.entry(write([set('b', 'old-b'), set('x', 'old-x')]));
      await before.engine.sync();
      const failing = new FailingEngine(memory, failAt);
      const follower = await before.restarted(failing.engine);
      try {
        await follower.machine.installSnapshot(snapshot.meta, snapshot.descriptor, staged(chunks));
        done = true;
      } catch (error) {
        if (!(error instanceof PowerLoss)) throw error;
      }
      steps = Math.max(steps, failing.steps);
      const engine = failing.inner.crash(() => luck);
      const record = must(await recordOf(engine, 1), 'a record');
      const what = `crash at step ${failAt}, luck ${luck}`;
      if (record.state === ReplicaState.INSTALLING) {
        t.equal(record.stagedFile, 'snapshot-1', what);
        const { replicaId, appliedIndex, appliedTerm, stagedFile } = record;
        const shard = must(record.shard, 'a descriptor');
        const again = { replicaId, shard, appliedIndex, appliedTerm, stagedFile, previous: null, taken: [] };
        await installShardSnapshot(engine, again, staged(chunks).read());
        t.same([...(await allRows(engine))], fresh, what);
      } else if (record.appliedIndex === 7) {
        t.same([...(await allRows(engine))], fresh, what);
      } else {
        t.same([...(await allRows(engine)).keys()], ['b', 'x'], what);
      }
    }
  }
  t.ok(steps >= 6, `an installation has ${steps} durable steps`);
});

async function installed(snapshot: StateSnapshot, chunks: readonly Buffer[]): Promise<MachineDriver> {
  const driver = new MachineDriver(new MemoryEngine());
  await driver.machine.installSnapshot(snapshot.meta, snapshot.descriptor, staged(chunks));
  return driver;
}

t.test('a snapshot that ends early, goes on after its end, or holds foreign rows is refused', async (t) => {
  const { snapshot, chunks } = await makeSnapshot();
  const whole = Buffer.concat(chunks);
  const install = (bytes: Buffer): Promise<MachineDriver> => installed(snapshot, [bytes]);
  await t.rejects(install(whole.subarray(0, whole.length - 1)), SnapshotFormatError);
  await t.rejects(install(Buffer.concat([whole, whole])), SnapshotFormatError);
  await t.rejects(install(packedSnapshot(RowTag.data, [['z', '1']])), /shard 1: .*outside of its range/);
  await t.rejects(install(packedSnapshot(RowTag.session, [['z', '1']])), /outside of its range/);
  await t.rejects(install(packedSnapshot(7, [['a', '1']])), /unknown kind/);
});
