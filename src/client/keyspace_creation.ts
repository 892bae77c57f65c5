import type { Runtime } from '../base/runtime.js';
import { sleep } from '../base/runtime.js';
import type { Keyspace } from '../gen/skerry/v1/meta.js';
import { KeyspaceState } from '../gen/skerry/v1/meta.js';
import { SkerryError } from './errors.js';
import { keyspaceLookMs } from './limits.js';

/** What creating a keyspace asks of the placement service. */
export interface KeyspaceCalls {
  /** Asks for the keyspace, once. @throws SkerryError */
  create(): Promise<Keyspace>;
  list(): Promise<readonly Keyspace[]>;
}

export interface KeyspaceShape {
  readonly name: string;
  readonly partitioning: Keyspace['partitioning'];
  /** 0: the default. */
  readonly replicaCount: number;
  /** 0: the default. */
  readonly shards: number;
  /** Every shard has a leader when it is over. */
  readonly wait: boolean;
}

/**
 * Creates a keyspace although the connection may break while placement makes its thousands of shards: placement goes on, and
 * whoever asked looks how far it is.
 *
 *     create ──answered──▶ done
 *       │ broke off: fate not known
 *       ▼
 *     look ──there and, if that is waited for, ready──▶ done
 *       ▲ ├──there, being made──▶ look again
 *       │ └──not there──▶ create once more ──ALREADY_EXISTS: planned, and not listed yet──▶ look again
 *
 * A keyspace found after an attempt of unknown fate is taken for this caller's if it is as wished.
 * @throws SkerryError what a first attempt was answered; ALREADY_EXISTS for one of another shape; UNDETERMINED at the deadline.
 */
export async function createKeyspace(
  calls: KeyspaceCalls,
  shape: KeyspaceShape,
  runtime: Runtime,
  deadlineMs: number,
): Promise<Keyspace> {
  let unknown: SkerryError;
  try {
    return await calls.create();
  } catch (error) {
    if (!brokeOff(error)) throw error;
    unknown = error;
  }
  while (runtime.nowMs() < deadlineMs) {
    const found = await attempt(() => findOrCreate(calls, shape.name));
    if (found !== null && !isAsWished(found, shape)) {
      throw new SkerryError('ALREADY_EXISTS', `keyspace ${JSON.stringify(shape.name)} exists and is another one`);
    }
    if (found !== null && (!shape.wait || found.state === KeyspaceState.READY)) return found;
    await sleep(runtime, keyspaceLookMs);
  }
  throw unknown;
}

async function findOrCreate(calls: KeyspaceCalls, wanted: string): Promise<Keyspace> {
  return (await calls.list()).find(({ name }) => name === wanted) ?? (await calls.create());
}

/** Null: it is not known yet, or an attempt before is still being planned, so that it has a name but is not listed. */
async function attempt(look: () => Promise<Keyspace>): Promise<Keyspace | null> {
  try {
    return await look();
  } catch (error) {
    if (brokeOff(error) || (error instanceof SkerryError && error.code === 'ALREADY_EXISTS')) return null;
    throw error;
  }
}

/** Nothing is known, or nobody could be asked: a look tells later. */
function brokeOff(error: unknown): error is SkerryError {
  return error instanceof SkerryError && (error.code === 'UNDETERMINED' || error.code === 'PLACEMENT_UNAVAILABLE');
}

function isAsWished(found: Keyspace, { partitioning, replicaCount, shards }: KeyspaceShape): boolean {
  const sameReplicas = replicaCount === 0 || found.replicaCount === replicaCount;
  const sameShards = shards === 0 || found.initialShards === shards;
  return found.partitioning === partitioning && sameReplicas && sameShards;
}
