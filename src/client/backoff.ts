import { backoffFirstMs, backoffMaxMs } from './limits.js';

/**
 * The delay before retry number `attempt` (from 0): doubling up to a bound, of which the upper half is random so that
 * clients that failed together do not come back together. `atLeastMs` is a server's own hint. Pure: `random` is in [0, 1).
 */
export function backoffMs(attempt: number, random: number, atLeastMs = 0): number {
  const ceiling = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(attempt, 30));
  return Math.max(atLeastMs, ceiling / 2 + (ceiling / 2) * random);
}
