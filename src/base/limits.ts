import { assert } from './assert.js';

/**
 * Limits that clients and servers share. Each part keeps its own limits.ts beside it; relations
 * between limits are asserted at load.
 */

/** A user key. Large enough for paths and composite keys, small enough to keep in memory indexes. */
export const keyBytesMax = 4 * 1024;
/** A value. One value must fit a Raft entry, a frame and an engine batch without paging. */
export const valueBytesMax = 8 * 1024 * 1024;
/** All keys and values of one WriteCommand. */
export const commandBytesMax = 16 * 1024 * 1024;
/** Mutations of one WriteCommand, keys of one BatchGet. */
export const commandOpsMax = 4096;
/** One gRPC frame, either way. Holds the largest command with its framing. */
export const frameBytesMax = 64 * 1024 * 1024;
/** Rows that one Scan page may hold. */
export const scanRowsMax = 10_000;
/** Rows of a Scan page when the caller names no limit. */
export const scanRowsDefault = 1_000;
/** Bytes of one Scan page; the page ends early beyond it. */
export const scanBytesMax = 4 * 1024 * 1024;
/** Hash shards of one keyspace: one per Redis Cluster slot. */
export const hashShardsMax = 16_384;
/** Hash shards of a keyspace when the creator names no number. */
export const hashShardsDefault = 16;
/** The longest keyspace name. */
export const keyspaceNameBytesMax = 128;

assert(valueBytesMax + keyBytesMax <= commandBytesMax, 'a value of the largest size fits a command');
assert(commandBytesMax * 2 <= frameBytesMax, 'a command of the largest size fits a frame');
assert(scanBytesMax + valueBytesMax + keyBytesMax <= frameBytesMax, 'a scan page fits a frame');
