/**
 * The routing client of Skerry.
 *
 *     import { SkerryClient } from 'skerry';
 *     const client = await SkerryClient.connect({ placement: ['127.0.0.1:4001'] });
 *     await client.set('greeting', 'hello');
 *     (await client.get('greeting'))?.toString();   // 'hello'
 *     client.close();
 *
 * A cluster keeps the keys of a keyspace in shards. The client knows which shard holds a key, which store leads it, and
 * sends each operation straight there. What it knows comes from the placement service (asked once, then pushed) and
 * from the stores' typed errors; both may come late, in any order, so nothing older ever replaces what is newer.
 *
 *     caller ─▶ SkerryClient (checks arguments) ─▶ Router ─▶ StoreConnection ─▶ store
 *                                                   ▲   └ rest, retry, look up     one connection each,
 *                    PlacementClient ── routes ─────┘                              one frame a turn
 *
 * The router (router.ts with shard_cache, session, retry_table, store_choice, admission, look_ups) is a state machine
 * without I/O, timers or promises; client_core.ts is the shell that gives it connections (frames
 * over TCP to stores, gRPC to placement) and time.
 *
 * What holds:
 * - An operation settles once, at its deadline at the latest (to within 10 ms).
 * - DEADLINE_EXCEEDED means: it had no effect. UNDETERMINED means: a write may or may not have had one. There is no
 *   third way to run out of time. ABORTED and CLIENT_CLOSED tell the same in details.maybeApplied.
 * - A write has one session and one sequence over all of its attempts, so it takes effect at most once.
 * - Acknowledged writes are on the disks of a majority. A linearizable read (the default) sees every write that was
 *   acknowledged before the read began. `follower` promises the same and asks any voter; `stale` returns what the
 *   asked replica has applied.
 * - Operations of one client may overtake each other; await one before the next if their order matters.
 * - At most inFlightOps and inFlightBytes are outstanding, fewer at first and while all answers take long; more wait, and are refused
 *   past waitingOps or when they would wait for too much of their time (load_control.ts).
 *
 * Not here yet: TLS; a bound on the age of stale reads; locality when a follower is chosen; atomic batches over several
 * shards; a merge that brings two parts of one divided, still undetermined batch into one shard.
 */
export { AdminClient } from './admin_client.js';
export type { AdminOptions, CreateKeyspaceOptions } from './admin_client.js';
export type {
  BatchWriteOptions,
  ConsistencyName,
  KeyLike,
  OperationOptions,
  ReadOptions,
  ScanOptions,
  ValueLike,
} from './arguments.js';
export type { ClientStats } from './client_core.js';
export { SkerryError } from './errors.js';
export type { SkerryErrorCode } from './errors.js';
export { MetaClient } from './meta_client.js';
export type { MetaEntry, MetaOptions, MetaReadOptions, MetaWriteOptions } from './meta_client.js';
export { SkerryClient } from './skerry_client.js';
export type { BatchMutation, ConnectOptions, KeyValue, SwapResult } from './skerry_client.js';
