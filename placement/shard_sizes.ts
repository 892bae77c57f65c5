/** When a shard is split or merged by itself. Configurable; 0 switches a rule off. */
export interface ShardSizes {
  /** A shard with more than this is split in two. */
  readonly splitBytes: number;
  readonly splitKeys: number;
  /** Reads and writes per second. */
  readonly splitWork: number;
  /** A shard with less than both of these is merged with a neighbour, in a keyspace with more shards than it began with. */
  readonly mergeBytes: number;
  readonly mergeKeys: number;
  /** A shard that was just split or merged is neither split nor merged again by itself for this time, milliseconds. */
  readonly restMs: number;
}

const mebibyte = 1024 * 1024;

export const shardSizesDefault: ShardSizes = {
  splitBytes: 256 * mebibyte,
  splitKeys: 4_000_000,
  splitWork: 20_000,
  mergeBytes: 16 * mebibyte,
  mergeKeys: 200_000,
  restMs: 60 * 60_000,
};

/** Two shards that are merged fill this part of what is split at most, or the one would soon be two again. */
export const mergedShareMax = 0.5;
