import { must } from '../src/base/assert.js';
import { hashSplitKeys } from '../src/base/encoded_key.js';
import { hashShardsDefault, hashShardsMax, keyBytesMax, keyspaceNameBytesMax } from '../src/base/limits.js';
import type { TypedError } from '../src/base/wire_errors.js';
import { failedPrecondition, invalidArgument, placementUnavailable, serverIsBusy } from '../src/base/wire_errors.js';
import type { CreateKeyspaceRequest } from '../src/gen/skerry/v1/admin.js';
import { Partitioning, StoreState } from '../src/gen/skerry/v1/meta.js';
import { placeInitially } from './initial_placement.js';
import { distinctHosts, distinctValues } from './isolation.js';
import type { LeaderWork } from './leader_work.js';
import {
  keyspacesMax,
  replicaCountDefault,
  replicaCountMax,
  shardsPerCommandMax,
  splitKeysBytesMax,
  splitKeysMax,
  storesWaitMs,
} from './limits.js';
import type { PlacementMember } from './placement_member.js';
import type { PlacementRules } from './rules/placement_rules.js';
import { hasLabels, labelsText, plainRules } from './rules/placement_rules.js';
import type { ShardPlan } from './state/commands.js';
import type { StoreRecord } from './state/records.js';
import { storeLoads } from './store_loads.js';
import { WireFault } from './wire_fault.js';

/** A request to create a keyspace, checked and with its defaults. */
export interface KeyspaceWish {
  readonly name: string;
  readonly partitioning: Partitioning;
  readonly rules: PlacementRules;
  /** The rules are more than a number of voters, and are kept with the keyspace. */
  readonly hasPolicy: boolean;
  /** Start keys of its shards, the first one empty. */
  readonly startKeys: readonly Buffer[];
}

const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

/** Throws WireFault with an InvalidArgument that names the field. */
export function checkWish(request: CreateKeyspaceRequest, policy: PlacementRules | null): KeyspaceWish {
  const { name, replicaCount } = request;
  const nameBytes = Buffer.byteLength(name, 'utf8');
  if (nameBytes === 0) refuse('name', 'NAME_EMPTY', 'a keyspace needs a name');
  if (nameBytes > keyspaceNameBytesMax)
    refuse('name', 'NAME_TOO_LONG', `a name has ${keyspaceNameBytesMax} bytes at most`);
  if (!namePattern.test(name)) {
    refuse(
      'name',
      'NAME_INVALID',
      'a name has letters, digits, "_", "-" and ".", and begins with one of the first three',
    );
  }
  if (replicaCount > replicaCountMax) {
    refuse('replica_count', 'REPLICA_COUNT_OUT_OF_RANGE', `replica_count is at most ${replicaCountMax}`);
  }
  if (policy !== null && replicaCount !== 0 && replicaCount !== policy.voters) {
    refuse('replica_count', 'REPLICA_COUNT_NOT_VOTERS', `the policy asks for ${policy.voters} voters; leave it out`);
  }
  const { partitioning, startKeys } = checkPartitioning(request);
  const rules = policy ?? plainRules(replicaCount === 0 ? replicaCountDefault : replicaCount);
  return { name, partitioning, startKeys, rules, hasPolicy: policy !== null };
}

function checkPartitioning(request: CreateKeyspaceRequest): Pick<KeyspaceWish, 'partitioning' | 'startKeys'> {
  const { shards, splitKeys } = request;
  if (request.partitioning === Partitioning.RANGE) {
    if (shards !== 0 && shards !== splitKeys.length + 1) {
      refuse('shards', 'SHARDS_NOT_ALLOWED', 'a range keyspace has one shard more than split keys; leave shards out');
    }
    return { partitioning: Partitioning.RANGE, startKeys: rangeStartKeys(splitKeys) };
  }
  if (request.partitioning !== Partitioning.HASH && request.partitioning !== Partitioning.UNSPECIFIED) {
    refuse('partitioning', 'PARTITIONING_UNKNOWN', 'partitioning is hash or range');
  }
  if (splitKeys.length > 0) refuse('split_keys', 'SPLIT_KEYS_NOT_ALLOWED', 'a hash keyspace takes a number of shards');
  if (shards > hashShardsMax) refuse('shards', 'SHARDS_OUT_OF_RANGE', `shards is at most ${hashShardsMax}`);
  return { partitioning: Partitioning.HASH, startKeys: hashSplitKeys(shards === 0 ? hashShardsDefault : shards) };
}

function rangeStartKeys(splitKeys: readonly Uint8Array[]): Buffer[] {
  if (splitKeys.length > splitKeysMax) {
    refuse('split_keys', 'TOO_MANY_SPLIT_KEYS', `a keyspace begins with ${splitKeysMax} split keys at most`);
  }
  let bytes = 0;
  for (const key of splitKeys) {
    if (key.length === 0) refuse('split_keys', 'KEY_EMPTY', 'a split key is not empty');
    if (key.length > keyBytesMax) refuse('split_keys', 'KEY_TOO_LARGE', `a split key has ${keyBytesMax} bytes at most`);
    bytes += key.length;
  }
  if (bytes > splitKeysBytesMax) refuse('split_keys', 'SPLIT_KEYS_TOO_LARGE', `${splitKeysBytesMax} bytes at most`);
  const sorted = splitKeys.map((key) => Buffer.from(key)).sort((a, b) => Buffer.compare(a, b));
  sorted.forEach((key, i) => {
    const next = sorted[i + 1];
    if (next !== undefined && next.equals(key))
      refuse('split_keys', 'SPLIT_KEY_TWICE', 'split keys differ from each other');
  });
  return [Buffer.alloc(0), ...sorted];
}

function refuse(field: string, reason: string, message: string): void {
  throw new WireFault(invalidArgument(field, reason, message));
}

/** Plans the keyspace's shards and brings them into the log. Its id. */
export async function createKeyspace(
  member: PlacementMember,
  work: LeaderWork,
  wish: KeyspaceWish,
  timeoutMs: number,
): Promise<number> {
  if ([...member.state.keyspaces()].length >= keyspacesMax) {
    throw new WireFault(serverIsBusy('placement.keyspaces', 60_000));
  }
  const plans = await planKeyspace(member, work, wish, timeoutMs);
  const { name, partitioning, rules, startKeys } = wish;
  const keyspaceId = await member.proposer.propose({
    kind: 'createKeyspace',
    name,
    partitioning,
    replicaCount: rules.voters,
    initialShards: startKeys.length,
    ...(wish.hasPolicy ? { rules } : {}),
  });
  // One after the other: applying thousands of shards in one turn would hold the event loop, and every connection, up.
  for (let at = 0; at < plans.length; at += shardsPerCommandMax) {
    const shards = plans.slice(at, at + shardsPerCommandMax);
    // A lost leadership fails it; the next leader takes the keyspace back.
    await member.proposer.propose({ kind: 'addShards', keyspaceId, shards });
  }
  if (member.state.keyspace(keyspaceId) === undefined)
    throw new WireFault(placementUnavailable(member.leaderAddress()));
  return keyspaceId;
}

/** Where the keyspace's shards would go, once the stores had the time to report. */
export async function planKeyspace(
  member: PlacementMember,
  work: LeaderWork,
  wish: KeyspaceWish,
  timeoutMs: number,
): Promise<ShardPlan[]> {
  await waitForStores(member, work, wish.rules, Math.min(timeoutMs, storesWaitMs));
  return planShards(work, wish);
}

/** A line per store that a plan gives something to. */
export function describePlan(plans: readonly ShardPlan[]): string[] {
  const shares = new Map<number, { replicas: number; leaders: number }>();
  for (const { storeIds } of plans) {
    for (const [at, storeId] of storeIds.entries()) {
      const share = shares.get(storeId) ?? { replicas: 0, leaders: 0 };
      share.replicas++;
      if (at === 0) share.leaders++;
      shares.set(storeId, share);
    }
  }
  return [...shares]
    .sort(([a], [b]) => a - b)
    .map(
      ([storeId, { replicas, leaders }]) => `store ${storeId} gets ${replicas} replicas and leads ${leaders} shards`,
    );
}

function planShards(work: LeaderWork, { name, startKeys, rules }: KeyspaceWish): ShardPlan[] {
  const loads = [...storeLoads(work.view, work.planner.table).values()].filter(
    (load) => load.acceptsReplicas && hasLabels(load.store, rules.votersOn),
  );
  const stores = loads.map((load) => load.store);
  const placed = placeInitially({ seed: name, shards: startKeys.length, rules, loads });
  const refusal = placed === null ? tooFewStores(stores, rules) : refusalOfPlaces(stores, rules);
  if (placed === null || refusal !== null) throw new WireFault(must(refusal, 'a refusal'));
  return startKeys.map((startKey, i) => ({
    startKey,
    endKey: startKeys[i + 1] ?? Buffer.alloc(0),
    storeIds: placed[i] ?? [],
  }));
}

/** Stores that registered a moment ago are about to report. */
async function waitForStores(
  member: PlacementMember,
  work: LeaderWork,
  rules: PlacementRules,
  timeoutMs: number,
): Promise<void> {
  const up = (): StoreRecord[] =>
    [...member.state.stores()].filter((store) => store.state === 'up' && hasLabels(store, rules.votersOn));
  const ready = (): StoreRecord[] => up().filter((store) => work.view.acceptsReplicas(store));
  // A store that is known to be silent is not waited for.
  const settled = (): boolean =>
    up().every((s) => work.view.isConnected(s.storeId) || work.view.storeState(s) !== StoreState.UP);
  await member.waiters.wait(() => settled() || member.leading !== work, timeoutMs);
  if (distinctHosts(ready()) < rules.voters) throw new WireFault(tooFewStores(ready(), rules));
}

/** What the policy asks of places that the stores do not have; null: nothing. A keyspace that is set later may wait for them. */
function refusalOfPlaces(
  stores: readonly StoreRecord[],
  { spread, spreadOver, leaderOn }: PlacementRules,
): TypedError | null {
  const values = distinctValues(stores, spread);
  if (values < spreadOver) {
    const message = `the policy asks for ${spreadOver} values of ${spread}; stores that may hold voters have ${values}`;
    return failedPrecondition('TOO_FEW_PLACES', message);
  }
  if (stores.some((store) => hasLabels(store, leaderOn))) return null;
  return failedPrecondition('NO_LEADER_PLACE', `no store that may hold voters has ${labelsText(leaderOn)}`);
}

function tooFewStores(stores: readonly StoreRecord[], { voters: replicaCount, votersOn }: PlacementRules): TypedError {
  const hosts = distinctHosts(stores);
  const have = hosts === stores.length ? `${stores.length} stores` : `${stores.length} stores on ${hosts} hosts`;
  const labels = votersOn.length === 0 ? '' : ` with ${labelsText(votersOn)}`;
  return failedPrecondition(
    'TOO_FEW_STORES',
    `${replicaCount} replicas need as many hosts; ready are ${have}${labels}`,
  );
}
