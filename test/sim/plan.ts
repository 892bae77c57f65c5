import { Prng } from '../../src/base/prng.js';

/** Everything that a seed decides before the run begins: the shape of the cluster and how often what goes wrong. */
export interface Plan {
  readonly stores: number;
  readonly placements: number;
  readonly shards: number;
  readonly clients: number;
  /** Operations that each client has under way at once, at most. */
  readonly concurrency: number;
  readonly keys: number;
  /** Steps of the safety phase; between two of them some 5 to 150 ms pass. */
  readonly steps: number;
  /** Chance per step of each fault; 0: this run is spared it. */
  readonly rates: Readonly<Record<FaultName, number>>;
  /** Largest deviation of a process's clock from true time. */
  readonly clockDrift: number;
  /** How long a sync takes at most in good times, in ms. */
  readonly syncMs: number;
  /** For the choice of what is merged when. */
  readonly mergeSeed: number;
  /** For which of them are given up again, and when. */
  readonly cancelSeed: number;
  /** For what happens to placement members. */
  readonly placementSeed: number;
}

/** Faults and changes that the driver in faults.ts knows. */
export const faultNames = [
  'weather',
  'isolate',
  'cutOneWay',
  'cutPair',
  'heal',
  'powerCut',
  'outage',
  'kill',
  'pause',
  'slowSync',
  'failSync',
  'fullDisk',
  'flipBit',
  'loseDisk',
  'transferLeader',
  'split',
  'moveReplica',
  'drain',
  'killClient',
  'merge',
  'addMember',
  'removeMember',
  'killPlacementLeader',
  'cancelMerge',
] as const;
export type FaultName = (typeof faultNames)[number];

/** Chance per step at full strength. */
const fullRates: Readonly<Record<FaultName, number>> = {
  weather: 0.1,
  isolate: 0.03,
  cutOneWay: 0.02,
  cutPair: 0.02,
  heal: 0.08,
  powerCut: 0.03,
  outage: 0.008,
  kill: 0.03,
  pause: 0.04,
  slowSync: 0.03,
  failSync: 0.01,
  fullDisk: 0.01,
  flipBit: 0.03,
  loseDisk: 0.02,
  transferLeader: 0.06,
  split: 0.03,
  moveReplica: 0.06,
  drain: 0.02,
  killClient: 0.01,
  merge: 0.05,
  addMember: 0.02,
  removeMember: 0.02,
  // Only while an operator runs.
  killPlacementLeader: 0.06,
  // Only while a merge is under way, which is seldom for long.
  cancelMerge: 0.6,
};

/** Drawn from sources of their own, so that seeds in which they are spared are what they were before there were any. */
export const isLateFault = (name: FaultName): boolean =>
  name === 'merge' || name === 'cancelMerge' || isPlacementFault(name);
export const isPlacementFault = (name: FaultName): boolean =>
  name === 'addMember' || name === 'removeMember' || name === 'killPlacementLeader';

/** What a run may be told beside its seed. */
export interface PlanChange {
  readonly steps?: number;
  readonly stores?: number;
  readonly shards?: number;
}

export function planOf(seed: number, change: PlanChange = {}): Plan {
  const prng = new Prng(seed * 2_654_435_761 + 17);
  const rates = { ...fullRates };
  for (const name of faultNames) {
    if (isLateFault(name)) continue;
    // Each run has its own mix: some faults not at all, others at up to full strength.
    const spared = name !== 'heal' && prng.chance(0.45);
    rates[name] = spared ? 0 : fullRates[name] * (0.3 + 0.7 * prng.random());
  }
  const merges = new Prng(seed * 40_503 + 11);
  rates.merge = merges.chance(0.35) ? 0 : fullRates.merge * (0.3 + 0.7 * merges.random());
  const members = new Prng(seed * 69_069 + 5);
  for (const name of faultNames.filter(isPlacementFault)) {
    rates[name] = members.chance(0.6) ? 0 : fullRates[name] * (0.3 + 0.7 * members.random());
  }
  const cancels = new Prng(seed * 22_695_477 + 3);
  rates.cancelMerge = cancels.chance(0.3) ? 0 : fullRates.cancelMerge * (0.3 + 0.7 * cancels.random());
  return {
    stores: change.stores ?? prng.int(3, 5),
    placements: prng.chance(0.3) ? 3 : 1,
    shards: change.shards ?? prng.int(1, 4),
    clients: prng.int(2, 3),
    concurrency: prng.int(1, 3),
    keys: prng.int(4, 12),
    steps: change.steps ?? 360,
    rates,
    clockDrift: prng.chance(0.5) ? 0.02 : 0,
    syncMs: prng.chance(0.5) ? 1 : 8,
    mergeSeed: merges.nextU32(),
    cancelSeed: cancels.nextU32(),
    placementSeed: members.nextU32(),
  };
}
