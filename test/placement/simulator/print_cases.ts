import { simCases } from './cases.js';
import { runCase } from './sim_case.js';

/** Runs one case, or all, at the size of the goals, and prints what happened and how it ended. */
export function printCases(only: string | undefined): void {
  const percent = (part: number): string => (Number.isNaN(part) ? '-' : `${(part * 100).toFixed(1)}%`);
  for (const simCase of simCases) {
    if (only !== undefined && only !== simCase.name) continue;
    const found = runCase(simCase);
    const { moves, leastMoves, movedTwice, transfers, restAfterMs } = found;
    console.log(`\n${simCase.name}: ${simCase.about} (${found.stores} stores, ${found.shards} shards)`);
    console.log(
      `  moves ${moves}, least possible ${leastMoves}, wasted ${moves - leastMoves}; moved twice ${movedTwice}`,
    );
    console.log(`  transfers ${transfers}; at rest after ${(restAfterMs / 1_000).toFixed(0)} s of virtual time`);
    console.log(
      `  furthest from a fair share: replicas ${percent(found.replicaSpread)}, leaders ${percent(found.leaderSpread)}, ` +
        `bytes ${percent(found.byteSpread)}, operations ${percent(found.workSpread)}`,
    );
  }
}
