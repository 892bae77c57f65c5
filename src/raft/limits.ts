/**
 * Named limits of the core. What the host may tune is in RaftConfig; these are about bookkeeping.
 */

/**
 * Reads that wait for a round on one leader, or for the leader's answer on one follower. The host shares one
 * read among all requests of a turn, so more than a few mean that a quorum is out of reach: fail fast then.
 */
export const pendingReadsMax = 1024;

/** What an entry costs beside its data when bytes are counted, so that empty entries are not free. */
export const entryOverheadBytes = 16;

/**
 * Ticks taken off the read lease: one because a voter's first tick may come right after it heard the leader, one because the
 * leader's current tick is incomplete, one for clock rates that differ (up to 1 / electionTick).
 */
export const leaseMarginTicks = 3;

/**
 * Rounds that one tick, or with a lease clock one millisecond, can hold: the low bits of a round id; when it was sent is in the
 * high bits, which milliseconds fill after four years of one process.
 */
export const roundsPerTickMax = 2 ** 16;

/** The lowest election priority: a group left with such replicas alone still elects one in a few timeouts. */
export const electionPriorityMax = 8;
