/**
 * Configurations that the search may visit for one key before it gives up with "unknown". Random linearizable histories of 1,000
 * operations by 10 clients with values written once take some 1,300 (test/linearizability/properties.test.ts prints them).
 */
export const statesPerKeyMax = 1_000_000;
/** Operations of the longest prefix that a violation shows. */
export const shownPrefixOperations = 6;
/** Operations that could not be placed that a violation shows. */
export const shownBlockedOperations = 12;
/** Operations that wait for a value about to be overwritten that a violation shows. */
export const shownWaitingOperations = 3;
