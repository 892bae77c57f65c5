import { assert } from '../base/assert.js';
import { commandBytesMax, commandOpsMax, frameBytesMax } from '../base/limits.js';

/** Limits of the routing client. */

/** Operations between submit and answer. Enough to fill a frame for every store several times over. */
export const inFlightOpsMax: number = 4_096;
/** Key and value bytes of those operations; bounds what one client pins in memory. */
export const inFlightBytesMax = 64 * 1024 * 1024;
/** Operations that wait for room in flight. Past it the caller gets CLIENT_OVERLOADED, not a longer queue. */
export const waitingOpsMax = 65_536;
/** Operations that may wait whatever the rate at which they find room: half a frame, so that the rate goes on being measured. */
export const waitingOpsFree: number = 64;
/**
 * The share of its time that an operation may be expected to wait for room and for its answer; else it is refused at once. Small,
 * because the rest is for what cannot be foreseen: an election, a slower store, a pause of this process.
 */
export const waitingShareMax = 0.25;
/** The interval over which the rate of answers is taken while operations wait for room, and how fast older ones are forgotten. */
export const answerRateIntervalMs = 100;
export const answerRateHalfLifeMs = 500;

/**
 * How long answers may all take before fewer operations are kept in flight. Below what stores themselves allow: what waits in
 * a client can be refused before a store has worked for it, and stores are left to refuse what too many clients ask.
 */
export const serviceTargetMs = 300;
/** How often that is looked at. */
export const serviceIntervalMs = 100;
/** Operations that are kept in flight however long they take: half a frame. Many clients of a slow store have as many each. */
export const inFlightOpsMin: number = 64;
/** Operations that are kept in flight before it is known how long they take; twice as many each interval while it is short. */
export const inFlightOpsFirst: number = 256;
/** What the bound in flight grows by in such an interval while answers come in time. */
export const inFlightGrowthOps = 32;
/** For how long the least time of an answer is remembered, and how many answers it takes to know it. */
export const serviceWindowMs = 1_000;
export const serviceSamplesMin = 64;
/** An operation with less time left is not sent: no answer comes in one turn of the event loop. */
export const sendTimeMsMin = 1;

/** Attempts at a store that refuses which a client may make beyond those that answers make good; half of them for retries. */
export const overloadTriesMax = 1_024;
/** Tries that come with time. */
export const overloadTriesPerSecond = 128;
/** How long after its last refusal a store counts as one that refuses: several of the longest hints. */
export const overloadMemoryMs = 5_000;

/** Operations of one frame. Larger frames make client and store work in lock-step instead of side by side. */
export const batchOpsMax = 128;
/** Operations that one stream may have outstanding; bounds inFlightOps, with room for the parts of divided batches. */
export const outstandingSlotsMax = 2 ** 18;
/** The largest inFlightOps that a caller may choose. */
export const inFlightOpsLimit = 65_536;
/** A frame is closed once it holds this much; one large operation may exceed it. */
export const batchBytesTarget = 1024 * 1024;

/** An operation's whole time, retries included, when the caller names none. */
export const timeoutMsDefault = 10_000;
/** The longest timeout that a caller may name: a day. Longer ones are a mistake in units. */
export const timeoutMsMax = 24 * 60 * 60 * 1000;
/** Deadlines fire to within one tick. */
export const wheelTickMs = 10;
/** Slots of the timing wheel; a power of two. Longer deadlines go round more than once. */
export const wheelSlots = 1_024;

/** The first delay of a retry: about one round to another store. */
export const backoffFirstMs: number = 10;
/** The longest delay of a retry: a small part of an election, so that a new leader is found soon after it. */
export const backoffMaxMs = 250;
/** Redirects that an operation follows without a pause; then it backs off, because leaders may be changing. */
export const redirectsMax = 3;
/** How long a store that could not be reached is avoided at first, and at most. */
export const suspectFirstMs: number = 250;
export const suspectMaxMs = 2_000;

/** How long one attempt to reach a server may take. */
export const connectTimeoutMs = 2_000;
/** How long one call to a placement member may take before another member is asked. */
export const placementCallTimeoutMs = 3_000;
/** Pages of a route listing. */
export const routesPageMax = 4_096;
/** Shards of one page of the admin listing: a page of 10,000 shards would hold the member's event loop up. */
export const shardsPageMax = 1_000;
/** Entries of one page of the metadata table. */
export const metadataPageMax = 256;
/** The longest wait for a change to complete when the caller names none: a large replica takes minutes to copy. */
export const adminWaitMsMax = 10 * 60 * 1000;
/** Placement members that a client keeps in its rotation. */
export const placementMembersMax = 32;
/** Rows of a scan page when the caller names none: about one frame of small rows. */
export const scanPageRowsDefault = 1_000;
/** Keys of one batchGet or batchWrite call over all shards. */
export const batchKeysMax: number = 65_536;
/** Mutations of one atomic batchWrite: it is one command. */
export const atomicBatchKeysMax = commandOpsMax;

/** How often a client looks for the keyspace whose creation broke off, milliseconds. */
export const keyspaceLookMs = 500;

assert((wheelSlots & (wheelSlots - 1)) === 0, 'the wheel has a power of two of slots');
assert(batchBytesTarget + commandBytesMax <= frameBytesMax, 'a full frame and the largest command fit a frame');
assert(batchKeysMax >= atomicBatchKeysMax, 'an atomic batch is no larger than other batches');
assert(inFlightBytesMax >= commandBytesMax, 'the largest command may be in flight');
assert(inFlightOpsLimit + batchKeysMax <= outstandingSlotsMax, 'what may be in flight has slots');
assert(inFlightOpsMax <= inFlightOpsLimit, 'the default may be chosen');
assert(waitingOpsFree < waitingOpsMax, 'free places to wait are among the places to wait');
assert(inFlightOpsMin <= inFlightOpsFirst && inFlightOpsFirst <= inFlightOpsMax, 'what is in flight first is allowed');
assert(backoffFirstMs <= backoffMaxMs && suspectFirstMs <= suspectMaxMs, 'delays grow');
