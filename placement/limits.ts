import { assert } from '../src/base/assert.js';
import { hashShardsMax } from '../src/base/limits.js';

/** Limits of the placement service. Relations between them are asserted at load. */

/** Shards that one addShards or updateShards command carries: keeps an entry near 100 KiB. */
export const shardsPerCommandMax: number = 512;
/** Split keys of a range keyspace: as many shards as a hash keyspace may have. */
export const splitKeysMax = hashShardsMax - 1;
/** Replicas of one shard; larger groups cost more than they protect. */
export const replicaCountMax = 7;
/** Replicas of a shard when the creator names no number. */
export const replicaCountDefault = 3;
/** Keyspaces of a cluster: each is a row that every member keeps in memory. */
export const keyspacesMax = 10_000;
/** Stores of a cluster, tombstones included. */
export const storesMax = 10_000;
/** Ids of one AllocateIds call; callers that need more ask again. */
export const idsPerCallMax: number = 100_000;
/** Labels of one store, and the bytes of each name and value. */
export const labelsPerStoreMax = 32;
export const labelBytesMax = 256;
/** The longest address that a store may register. */
export const addressBytesMax = 512;

/** Proposals of a member that wait for their commit; past it callers get ServerIsBusy. */
export const proposalsInFlightMax = 4_096;
/** Requests without a deadline wait this long. */
export const requestTimeoutMsDefault = 30_000;
/** The longest that any request waits, whatever its deadline says. */
export const requestTimeoutMsMax = 600_000;

/** Ids that the leader keeps in hand for new replicas and operators, and when it fetches more. */
export const idPoolSize: number = 1_024;
export const idPoolLowWater: number = 256;

/** Routes of one ListRoutes page when the caller names no limit, and at most. */
export const routesPerPageDefault: number = 1_024;
export const routesPerPageMax = 16_384;
/** Shards of one ListShards page when the caller names no limit, and at most. */
export const shardsPerPageDefault: number = 1_024;
export const shardsPerPageMax = 16_384;
/** Routes of one WatchRoutes frame: about 100 KiB. */
export const routesPerFrameMax = 1_024;
/** Changed routes that wait for a slow watcher; past it its stream ends and it subscribes anew. */
export const watcherBacklogMax = 65_536;
/** Watchers of one member. */
export const watchersMax = 4_096;

/** Commands that wait for one store's stream; past it they are dropped, and sent anew when their step is looked at again. */
export const sessionBacklogMax = 16_384;
/** Commands of one frame to a store. */
export const commandsPerFrameMax = 256;
/** Commands without an operator that are remembered for a store's refusal. */
export const looseCommandsMax: number = 1_024;
/** Shards of one CreateShards command. */
export const shardsPerCreateMax = 128;
/**
 * Shards of one keyspace that are being created at a time: named to their stores, and without a leader so far. More of them
 * elect at once than busy stores get through within an election timeout, and then all elect again.
 */
export const shardsCreatingMax: number = 512;
/** Shards whose creation is still unconfirmed are named to their stores again after this time. */
export const createResendMs = 2_000;
/** Balance rests while shards are being created, until nothing came of it for this long. */
export const createQuietMs = 5_000;

/** A store that is being drained is looked at this often; its rate is what left within this time, and unknown before this one. */
export const drainSampleMs = 2_000;
export const drainWindowMs = 2 * 60_000;
export const drainMeasureMs = 5 * drainSampleMs;
/** Finished operators that are kept for people to look at. */
export const operatorHistoryMax = 512;
/** Operators that the group keeps for the next leader; past it people get ServerIsBusy, and others are not kept. */
export const recordedOperatorsMax = 4_096;
/** Operators of one command that records them: about 100 KiB. */
export const recordsPerCommandMax: number = 256;
/** Operators whose record waits for its command; past it the oldest that is wanted for the history only is left out. */
export const journalBacklogMax: number = 1_024;
/** A step's command is sent again when nothing changed for this long. */
export const stepResendMs = 2_000;
/** Steps that only change the configuration. */
export const stepTimeoutMsShort = 60_000;
/** A merge that has not ended this long after its step began is taken back, */
export const mergeTimeoutMs = stepTimeoutMsShort / 2;
/** and no longer waited for after this time: then its target has lost its majority, and the stores end it when that is back. */
export const takeBackTimeoutMs = stepTimeoutMsShort - mergeTimeoutMs;
/** A transfer that took longer was refused by Raft: the heir lags or is gone. */
export const stepTimeoutMsTransfer = 15_000;
/** Steps that copy a shard's data. */
export const stepTimeoutMsCopy = 15 * 60_000;
/** A shard that was just moved by a scheduler is left alone this long. */
export const movedShardRestMs = 5 * 60_000;
/** A shard whose leader was just moved by the leader scheduler is left alone this long. */
export const transferredShardRestMs = 10_000;
/** Shards that one tick examines at most because something happened to them: keeps a tick far below 50 ms. */
export const checksPerTickMax = 4_096;
/** Shards that one tick examines in turn, though nothing happened: a pass over 16,384 shards takes 8 seconds. */
export const patrolPerTickMax = 512;
/** Shards whose repair waits for a limit that one tick tries again: more than any limit lets start at once. */
export const retriesPerTickMax = 256;
/** Operators that one round of a scheduler makes at most. */
export const operatorsPerRoundMax = 256;

/** Shards that one pass of a scheduler looks at; the next round goes on from there. */
export const candidatesPerRoundMax = 2_048;
/** What every replica counts in balance beside its bytes: below this, all shards cost alike. */
export const replicaBaseBytes = 4 * 1024 * 1024;
/** A store whose slowest syncs took this long (p99, microseconds) for this time counts as slow... */
export const slowSyncUs = 1_000_000;
export const slowAfterMs = 30_000;
/** ...and as sound again when they took half as long for this time. */
export const soundAfterMs = 2 * 60_000;
/** A store that came back from silence this many times within this time is given no leaders until the first of them is over. */
export const flapsMax = 3;
export const flapsWithinMs = 10 * 60_000;
/** A load that a former leader measured counts on for this time: the new one averages over some seconds. */
export const heldLoadMs = 30_000;
/** Operations per second from which a shard may count as hot, if they are also this share of its leader's store. */
export const hotShardWorkMin = 200;
export const hotShardShare = 0.05;
/** Operations per second below which a store's load is nobody's concern. */
export const hotStoreWorkMin = 2_000;
/** Stores are even in load when they are apart by no more than this part of the mean. */
export const hotTolerance = 0.2;
/** A shard whose split or merge failed is tried again after this time. */
export const failedReshapeRestMs = 5 * 60_000;
/** A keyspace is scattered when its largest and smallest shares differ by no more than this part of a fair one. */
export const scatterTolerance = 0.25;

/** Shards whose replicas are compared at once in the cluster; a store computes no more checksums than these at a time. */
export const scrubShardsInFlightMax = 2;
/** Requests to compare a shard that wait for their turn; past it callers get ServerIsBusy. */
export const scrubRequestsMax = 256;
/** Shards with differing replicas that the group remembers: with more, something else is wrong. */
export const scrubFindingsMax = 1_024;
/** Findings of one command: a finding names the shard's replicas, so about 100 KiB. */
export const findingsPerCommandMax: number = 128;
/** How long a comparison looks for a leader that takes the command. */
export const scrubStartMs = 10_000;
/** How long it waits for the last replica, beyond the time that reading takes. */
export const scrubReplyMs = 30_000;
/** Times that reading may take as long as the configured speed says: the replicas of one store share it. */
export const scrubSlowness = 2 * scrubShardsInFlightMax;
/** What replicas may be read with when nothing is configured, bytes per second and store: little beside what a disk does. */
export const scrubBytesPerSecondDefault = 32 * 1024 * 1024;
/** The least that may be configured: slower, and views of the engine stay open for days. */
export const scrubBytesPerSecondMin = 64 * 1024;

/** Added to a recovered shard's term and confVer: above what the lost replicas can have reached without anybody's knowledge. */
export const recoveryJump: number = 1_000_000;
/** Questions to all stores what they have left, at once. */
export const surveysMax = 4;
/** Recoveries that one command asks for: keeps an entry near 100 KiB. */
export const recoveriesPerCommandMax = 512;
/** Chosen replicas that one tick tells to go on alone, and how long it waits before it tells one again. */
export const recoveriesPerTickMax = 64;
export const recoveryResendMs = 2_000;

/** Placement members: five, and one more while one is replaced. */
export const membersMax = 6;
/** Stores that the text of an error names; its detail has them all. */
export const storesNamedMax = 16;
/** Entries that a learner, or the heir of a leader, may lack: it catches up while the change is on its way. */
export const memberLagMax = 32;
/** How often a leader looks whether the group is as wanted, and a member without a leader whether it was removed. */
export const memberCheckMs = 500;
export const removalCheckMs = 2_000;
/** How often a member tells others that it has no connection with who the members are, and how long it waits for each. */
export const memberNoticeMs = 2_000;
/** How long a member that joins waits for each of the members that it was told of, how often it asks them, and its pause. */
export const joinAttemptMs = 2_000;
export const joinAttemptsMax = 5;
export const joinPauseMs = 1_000;

/** The metadata table is kept in memory, whole, on every member: what is larger belongs into a keyspace. */
export const metadataKeyBytesMax = 512;
export const metadataValueBytesMax: number = 64 * 1024;
export const metadataEntriesMax: number = 10_000;
/** Of all keys and values. */
export const metadataBytesMax: number = 16 * 1024 * 1024;
/** Entries of one page when the caller names no limit, and at most; and the bytes after which a page ends. */
export const metadataPageDefault: number = 256;
export const metadataPageMax = 1_024;
export const metadataPageBytesMax: number = 1024 * 1024;

/** Snapshot rows of one chunk and bytes of it. */
export const snapshotChunkRowsMax = 4_096;
export const snapshotChunkBytesMax = 512 * 1024;
/** Shard descriptors of one turn's reports that wait for their command. */
export const descriptorBacklogMax = 1 << 20;
/** Attempts to subscribe to the leader's routes are this far apart. */
export const mirrorRetryMs = 500;
/** A new leader that could not confirm its leadership, or tidy up, tries again after this time. */
export const leadRetryMs = 200;
/** A request that needs the leader waits this long for one to be known, and stores for theirs to be heard. */
export const leaderWaitMs = 2_000;
export const storesWaitMs = 5_000;
/** An admin request waits this long for an operator of a checker or scheduler to leave its shard. */
export const operatorWaitMs = 10_000;
/** Bytes of a whole split key list as it comes in one request. */
export const splitKeysBytesMax = 16 * 1024 * 1024;

/** Memory of the engine: the state is in memory anyway, so the engine only writes, and reads at start. */
export const engineCacheBytes = 8 * 1024 * 1024;
export const engineWriteBufferBytes = 32 * 1024 * 1024;

assert(shardsPerCreateMax <= shardsCreatingMax, 'a whole command of shards may be created at a time');
assert(findingsPerCommandMax <= scrubFindingsMax, 'what the group remembers fits into a few commands');
assert(drainSampleMs < drainMeasureMs && drainMeasureMs < drainWindowMs, 'a rate comes of several looks');
assert(recordsPerCommandMax <= journalBacklogMax, 'what waits fits into a few commands');
assert(shardsPerCommandMax <= hashShardsMax, 'a keyspace is made of several commands');
assert(soundAfterMs > slowAfterMs, 'a store is slow for longer than it takes to become slow');
assert(idPoolLowWater < idPoolSize && idPoolSize <= idsPerCallMax, 'the id pool is filled by one call');
assert(routesPerPageDefault <= routesPerPageMax && shardsPerPageDefault <= shardsPerPageMax, 'pages fit');
assert(metadataPageDefault <= metadataPageMax && metadataEntriesMax > metadataPageMax, 'pages of metadata fit');
assert(metadataValueBytesMax <= metadataPageBytesMax && metadataPageBytesMax <= metadataBytesMax, 'values fit');
assert(
  stepResendMs * 4 <= Math.min(stepTimeoutMsShort, stepTimeoutMsTransfer),
  'a step is sent several times before it times out',
);
