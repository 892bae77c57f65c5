/** Limits of the playground. */

/** Stores and placement members that one machine is asked to run. */
export const playgroundStoresMax = 32;
/** How long a server may take until it says that it is ready: a guard against hanging on machines that are busy. */
export const readyMsMax = 180_000;
/** How long a server may take to stop by itself before it is killed. */
export const stopGraceMs = 5_000;
/** How long a new keyspace may take until every shard has a leader and leaders are spread. */
export const keyspaceReadyMsMax = 300_000;
/** Starts of the placement service with fresh ports when one of them was taken in the meantime. */
export const portAttemptsMax = 3;
/** Lines of a server's output that are shown when it does not start. */
export const outputLinesShown = 20;
/** Operations that the import keeps in flight. */
export const importInFlightMax = 2_048;
