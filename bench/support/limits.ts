/** Limits of the benchmarks. */

/** How long a keyspace may take until every shard has had a leader, milliseconds. */
export const keyspaceWaitMs = 600_000;
/** How long an idle cluster may take until all replicas hibernate, milliseconds. */
export const settleMsMax = 300_000;
/** How long a shard may take to become writable after a fault, milliseconds. */
export const writableMsMax = 120_000;
/** Operations that an open loop keeps outstanding per client; more are not begun, and counted. */
export const openLoopOutstandingMax = 65_536;
/** Placement is at rest when no operator ran for this long, milliseconds: more than a transferred shard rests. */
export const placementRestMs = 20_000;
/** How long a change of stores may take until nothing moves any more, milliseconds. */
export const rebalanceMsMax = 3_600_000;
/** After how long a write that was refused without a hint is tried again, milliseconds. */
export const retryMs = 100;
/** How long a signal may take until it has its effect, milliseconds. */
export const signalMs = 100;
