import { Prng } from '../../src/base/prng.js';

/**
 * The core workloads of YCSB ("Benchmarking Cloud Serving Systems with YCSB", Cooper et al., SoCC 2010, table 2) and its generators,
 * after the project's workloads/workload[a-f] files and CoreWorkload.
 */
export interface Mix {
  readonly about: string;
  readonly read?: number;
  readonly update?: number;
  readonly insert?: number;
  readonly scan?: number;
  readonly readModifyWrite?: number;
  /** Which records are asked for: skewed over all of them, or towards those inserted last. */
  readonly request: 'zipfian' | 'latest';
}

export const mixes: Readonly<Record<string, Mix>> = Object.freeze({
  A: { about: 'update heavy', read: 0.5, update: 0.5, request: 'zipfian' },
  B: { about: 'read mostly', read: 0.95, update: 0.05, request: 'zipfian' },
  C: { about: 'read only', read: 1, request: 'zipfian' },
  D: { about: 'read latest', read: 0.95, insert: 0.05, request: 'latest' },
  E: { about: 'short ranges', scan: 0.95, insert: 0.05, request: 'zipfian' },
  F: { about: 'read-modify-write', read: 0.5, readModifyWrite: 0.5, request: 'zipfian' },
});

export const kinds = ['read', 'update', 'insert', 'scan', 'readModifyWrite'] as const;
export type Kind = (typeof kinds)[number];

/** The longest scan; lengths are uniform from 1. */
export const scanRowsMax = 100;

const zipfianTheta = 0.99;

/**
 * Numbers from 0 to items - 1, the smaller the likelier, by Gray et al., "Quickly Generating Billion-Record Synthetic
 * Databases", SIGMOD 1994, as YCSB's ZipfianGenerator does it. `items` may grow.
 */
export class Zipfian {
  private readonly prng: Prng;
  private readonly alpha = 1 / (1 - zipfianTheta);
  private readonly zeta2 = 1 + 0.5 ** zipfianTheta;
  private counted = 0;
  private zeta = 0;

  constructor(prng: Prng) {
    this.prng = prng;
  }

  next(items: number): number {
    for (; this.counted < items; this.counted++) this.zeta += 1 / (this.counted + 1) ** zipfianTheta;
    const eta = (1 - (2 / items) ** (1 - zipfianTheta)) / (1 - this.zeta2 / this.zeta);
    const u = this.prng.random();
    const uz = u * this.zeta;
    if (uz < 1) return 0;
    if (uz < this.zeta2) return 1;
    return Math.min(items - 1, Math.floor(items * (eta * u - eta + 1) ** this.alpha));
  }
}

/** Chooses operations and records of a mix. Records are numbered in the order of their insertion. */
export class Chooser {
  private readonly mix: Mix;
  private readonly prng: Prng;
  private readonly zipfian: Zipfian;
  private inserted: number;

  constructor(mix: Mix, records: number, seed: number) {
    this.mix = mix;
    this.prng = new Prng(seed);
    this.zipfian = new Zipfian(this.prng);
    this.inserted = records;
  }

  kind(): Kind {
    let left = this.prng.random();
    for (const kind of kinds) {
      left -= this.mix[kind] ?? 0;
      if (left < 0) return kind;
    }
    return 'read';
  }

  /** An existing record. */
  record(): number {
    const rank = this.zipfian.next(this.inserted);
    if (this.mix.request === 'latest') return this.inserted - 1 - rank;
    // Scattered, so that the popular records are not neighbours (YCSB's ScrambledZipfianGenerator).
    return Number(fnv64(rank) % BigInt(this.inserted));
  }

  /** The number of a new record. */
  insert(): number {
    return this.inserted++;
  }

  scanRows(): number {
    return this.prng.int(1, scanRowsMax);
  }
}

const mask64 = (1n << 64n) - 1n;

/** FNV-1a of a number's eight bytes, as YCSB hashes record numbers. */
export function fnv64(value: number): bigint {
  let hash = 0xcbf29ce484222325n;
  for (let rest = BigInt(value), i = 0; i < 8; i++, rest >>= 8n) {
    hash = ((hash ^ (rest & 0xffn)) * 1099511628211n) & mask64;
  }
  return hash;
}

/** The key of a record: hashed, so that insertion order is not key order (YCSB's insertorder=hashed). */
export function recordKey(record: number): string {
  return `user${fnv64(record).toString(16).padStart(16, '0')}`;
}

/** Split keys that cut the records' keys into equal shards. */
export function recordSplitKeys(shards: number): string[] {
  const step = (1n << 64n) / BigInt(shards);
  return Array.from({ length: shards - 1 }, (_, i) => `user${(step * BigInt(i + 1)).toString(16).padStart(16, '0')}`);
}
