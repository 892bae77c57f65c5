import t from 'tap';
import type { KeyspaceCalls, KeyspaceShape } from '../../src/client/keyspace_creation.js';
import { createKeyspace } from '../../src/client/keyspace_creation.js';
import { SkerryError } from '../../src/client/errors.js';
import { keyspaceLookMs } from '../../src/client/limits.js';
import type { Runtime } from '../../src/base/runtime.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Keyspace } from '../../src/gen/skerry/v1/meta.js';
import { KeyspaceState, Partitioning } from '../../src/gen/skerry/v1/meta.js';

const shape: KeyspaceShape = { name: 'k', partitioning: Partitioning.HASH, replicaCount: 3, shards: 4, wait: true };
const deadlineMs = 20 * keyspaceLookMs;

/** A clock that only pauses move on, and they take no time. */
function leapingClock(): Runtime {
  let nowMs = 0;
  const node = nodeRuntime();
  return {
    ...node,
    nowMs: () => nowMs,
    after: (delayMs, fn) => {
      nowMs += delayMs;
      return node.after(0, fn);
    },
  };
}

function keyspace(state: Keyspace['state'], initialShards = 4): Keyspace {
  return { keyspaceId: 1, name: 'k', partitioning: Partitioning.HASH, replicaCount: 3, state, initialShards };
}

function failure(code: ConstructorParameters<typeof SkerryError>[0]): SkerryError {
  return new SkerryError(code, code);
}

/** Answers in order; the last one again and again. */
function scripted(create: readonly (Keyspace | SkerryError)[], list: readonly (Keyspace[] | SkerryError)[]) {
  const asked = { create: 0, list: 0 };
  const answer = <T>(answers: readonly (T | SkerryError)[], at: number): Promise<T> => {
    const next = answers[Math.min(at, answers.length - 1)];
    if (next === undefined) throw new Error('nothing is scripted');
    return next instanceof SkerryError ? Promise.reject(next) : Promise.resolve(next);
  };
  const calls: KeyspaceCalls = {
    create: () => answer(create, asked.create++),
    list: () => answer(list, asked.list++),
  };
  return { asked, run: () => createKeyspace(calls, shape, leapingClock(), deadlineMs) };
}

const creating = keyspace(KeyspaceState.CREATING);
const ready = keyspace(KeyspaceState.READY);

t.test('an answer is the end of it', async (t) => {
  const { asked, run } = scripted([ready], [[]]);
  t.equal(await run(), ready);
  t.same(asked, { create: 1, list: 0 });
});

t.test('a refusal of the first attempt is told', async (t) => {
  const { asked, run } = scripted([failure('ALREADY_EXISTS')], [[ready]]);
  await t.rejects(run(), { code: 'ALREADY_EXISTS' });
  t.equal(asked.list, 0);
});

t.test('a request that broke off is looked after until every shard has a leader', async (t) => {
  const { asked, run } = scripted([failure('UNDETERMINED')], [[creating], failure('PLACEMENT_UNAVAILABLE'), [ready]]);
  t.equal(await run(), ready);
  t.same(asked, { create: 1, list: 3 });
});

t.test('one that came to nothing is made again', async (t) => {
  const { asked, run } = scripted([failure('UNDETERMINED'), ready], [[]]);
  t.equal(await run(), ready);
  t.same(asked, { create: 2, list: 1 });
});

t.test('one that is still planned, which nobody lists, is waited for', async (t) => {
  const { asked, run } = scripted([failure('UNDETERMINED'), failure('ALREADY_EXISTS')], [[], [], [creating], [ready]]);
  t.equal(await run(), ready);
  t.same(asked, { create: 3, list: 4 });
});

t.test('a keyspace of another shape is not taken for the one that was asked for', async (t) => {
  const { run } = scripted([failure('UNDETERMINED')], [[keyspace(KeyspaceState.READY, 16)]]);
  await t.rejects(run(), { code: 'ALREADY_EXISTS' });
});

t.test('at the deadline its fate is not known', async (t) => {
  const { asked, run } = scripted([failure('UNDETERMINED')], [[creating]]);
  await t.rejects(run(), { code: 'UNDETERMINED' });
  t.equal(asked.list, 20);
});
