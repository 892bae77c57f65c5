import { assert } from '../../src/base/assert.js';
import type { Operation, Verdict } from './history.js';
import { operationsByKey } from './history.js';
import { statesPerKeyMax } from './limits.js';
import { checkKey } from './wgl.js';
import { checkZones, zonesApply } from './zones.js';

/*
 * Is a history of a key-value store linearizable? Start here.
 *
 *   history.ts         what a history is, how to record one
 *   check_history.ts   every key by every checker that applies
 *   wgl.ts             the search, for all kinds of operations; may give up
 *   register_steps.ts  operations as what they need and what they leave
 *   open_writes.ts     writes whose fate is unknown
 *   zones.ts           the exact and fast test for sets of distinct values and gets
 *   limits.ts
 */

export interface HistoryCheck {
  /** The first violation, else the first "unknown", else ok. */
  readonly verdict: Verdict;
  readonly keys: number;
  readonly operations: number;
  /** Keys that the zone check decided. */
  readonly keysByZones: number;
  /** Configurations that the search visited, over all keys. */
  readonly states: number;
}

/** Checks all keys. Pure: the same history gives the same answer. Throws AssertionError if the checkers contradict each other. */
export function checkHistory(history: readonly Operation[], statesMax = statesPerKeyMax): HistoryCheck {
  const byKey = operationsByKey(history);
  let verdict: Verdict = { kind: 'ok' };
  let [keysByZones, states] = [0, 0];
  for (const [key, operations] of byKey) {
    const search = checkKey(key, operations, statesMax);
    states += search.states;
    let judged = search.verdict;
    if (zonesApply(operations)) {
      keysByZones++;
      const zones = checkZones(key, operations);
      assert(
        judged.kind === 'unknown' || judged.kind === zones.kind,
        () => `key ${key}: the search says ${search.verdict.kind}, the zones say ${zones.kind}`,
      );
      // The zones decide exactly, so a search that gave up takes nothing from their answer.
      judged = zones;
    }
    if (rank[judged.kind] > rank[verdict.kind]) verdict = judged;
  }
  return { verdict, keys: byKey.size, operations: history.length, keysByZones, states };
}

const rank: Readonly<Record<Verdict['kind'], number>> = { ok: 0, unknown: 1, violation: 2 };
