import t from 'tap';
import type { Engine, EngineBatch } from '../../src/engine/engine.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { StagedSnapshot } from '../../src/multiraft/host.js';
import type { ConfState } from '../../src/raft/message.js';
import { PlacementStateMachine, placementCommandKind } from '../../placement/placement_state_machine.js';
import { encodeCommand } from '../../placement/state/command_codec.js';
import type { PlacementCommand } from '../../placement/state/commands.js';

const confState: ConfState = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

async function applyAll(
  machine: PlacementStateMachine,
  engine: Engine,
  index: number,
  commands: readonly PlacementCommand[],
): Promise<readonly unknown[]> {
  const batch: EngineBatch = engine.newBatch();
  const effects: (() => void)[] = [];
  const ctx = { batch, read: () => null, after: (effect: () => void) => void effects.push(effect) };
  const encoded = commands.map((c) => ({ kind: placementCommandKind, bytes: encodeCommand(c) }) as const);
  const results = machine.apply(index, 6, encoded);
  machine.finishBatch(ctx);
  await engine.write(batch);
  for (const effect of effects) effect();
  return results;
}

function registration(directoryId: string): PlacementCommand {
  return { kind: 'registerStore', storeId: 0, address: directoryId, labels: [], version: '', engine: '', directoryId };
}

async function freshMachine(engine: Engine): Promise<PlacementStateMachine> {
  const machine = await PlacementStateMachine.load(engine);
  machine.begin(5, 5, confState);
  return machine;
}

t.test('state and applied position are found again together', async (t) => {
  const engine = new MemoryEngine();
  const machine = await freshMachine(engine);
  const results = await applyAll(machine, engine, 6, [{ kind: 'bootstrap', clusterId: 9 }, registration('a')]);
  t.same(results, [
    { ok: true, value: 9 },
    { ok: true, value: 1 },
  ]);
  await applyAll(machine, engine, 7, []);
  const again = await PlacementStateMachine.load(engine);
  t.match(again.applied, { index: 7, term: 6, confState });
  t.equal(again.state.clusterId, 9);
  t.equal(again.state.store(1)?.address, 'a');
});

t.test('an entry is applied once', async (t) => {
  const engine = new MemoryEngine();
  const machine = await freshMachine(engine);
  await applyAll(machine, engine, 6, []);
  t.throws(() => machine.apply(6, 6, []), /applied once/);
});

t.test('listeners hear of the rows that a batch touched, once it was handed over', async (t) => {
  const engine = new MemoryEngine();
  const machine = await freshMachine(engine);
  const heard: (readonly number[] | null)[] = [];
  machine.onChange((changes) => heard.push(changes === null ? null : [...changes.stores]));
  await applyAll(machine, engine, 6, [registration('a'), registration('b')]);
  await applyAll(machine, engine, 7, [registration('b')]);
  t.same(heard, [[1, 2], [2]]);
});

t.test('a snapshot carries everything, and replaces everything', async (t) => {
  const source = new MemoryEngine();
  const machine = await freshMachine(source);
  const names = Array.from({ length: 5_000 }, (_, i) => `store-${i}`);
  await applyAll(machine, source, 6, [{ kind: 'bootstrap', clusterId: 9 }, ...names.map(registration)]);
  const snapshot = await machine.openSnapshot();
  await applyAll(machine, source, 7, [registration('later')]);
  const chunks: Buffer[] = [];
  for (let chunk = await snapshot.next(); chunk !== null; chunk = await snapshot.next()) chunks.push(chunk);
  await snapshot.close();
  t.ok(chunks.length > 1, 'it comes in chunks');
  t.equal(snapshot.meta.index, 6);

  const target = new MemoryEngine();
  const other = await freshMachine(target);
  await applyAll(other, target, 6, [registration('to-be-gone')]);
  const heard: unknown[] = [];
  other.onChange((changes) => heard.push(changes));
  const staged: StagedSnapshot = {
    path: '',
    chunks: chunks.length,
    bytes: 0,
    async *read() {
      yield* chunks;
    },
  };
  await other.installSnapshot(snapshot.meta, snapshot.descriptor, staged);
  t.same(heard, [null], 'everything may have changed');
  for (const found of [other, await PlacementStateMachine.load(target)]) {
    t.match(found.applied, { index: 6, term: 6 });
    t.equal(found.state.clusterId, 9);
    t.equal([...found.state.stores()].length, 5_000);
    t.equal(found.state.store(1)?.address, 'store-0');
  }
});
