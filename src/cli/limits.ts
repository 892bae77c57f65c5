/** Limits of the command. */

/** Operations that an import keeps in flight: enough to fill frames to every store. */
export const transferInFlightMax = 2_048;
/** A line of an import: the largest key and value in base64, with room for names. */
export const importLineBytesMax = 12 * 1024 * 1024;
/** Rows of one page of an export. */
export const exportPageRows = 2_000;
/** Shards that `shard verify` asks for at once; placement compares fewer at a time, and keeps the others waiting. */
export const verifyInFlightMax = 8;
/** Bytes of a key that an inspected entry shows to people; JSON has all of them. */
export const keyPreviewBytesMax = 64;
/** Shards that one line about damage names; the table of shards has all of them. */
export const losingShardsShownMax = 32;
