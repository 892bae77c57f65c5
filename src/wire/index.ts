/**
 * The wire codecs: bytes to values and back, for the frames that carry the load.
 *
 * Purpose. A client's operation goes from its frame into the Raft entry, the peers' frames and the state
 * machine without being encoded again. The generated code cannot do that cheaply (it copies every byte string
 * and takes numbers through BigInt), so the messages of the hot path are read and written here by hand. The
 * bytes are those of the .proto files: tests compare both ways with the generated code. Everything else on the
 * wire (administration, placement) uses the generated code.
 *
 *     client            store                                   peer
 *     BatchOp ────▶ BatchRequest      EntryPayload ────▶ RaftMessage in Envelope
 *               kv_codec.ts │ body     ▲ entry_codec.ts        raft_codec.ts
 *                           └──────────┘                      snapshot_codec.ts
 *                          (same bytes)
 *
 * Reading. Reader walks one frame with a moving end for nested messages, so nothing is allocated but the
 * values themselves. Byte strings are views of the frame: they pin it, so who keeps one for long copies it.
 * Unknown fields are passed over; a known field with another wire type counts as unknown; of a singular field
 * that comes twice the last one holds.
 *
 * Writing. Sizes are computed first, then Writer fills one buffer per frame. Zeros are not written, as
 * proto3 has it; the writer checks that size and content agree.
 *
 * Invariants.
 * - A decoder returns a value or throws WireError. It reads nothing outside of its buffer, whatever the bytes are.
 * - The number of elements in one frame is bounded (limits.ts), so memory is too.
 * - Numbers are exact: one beyond 2^53 - 1 is refused, never rounded.
 * - Pure: no I/O, no clock, no randomness.
 *
 * What is missing: groups (wire types 3 and 4, which proto3 does not have) are refused even in unknown
 * fields; a singular message field that comes twice is replaced, not merged.
 */
export type * from './beat_codec.js';
export * from './entry_codec.js';
export * from './hello_codec.js';
export * from './kv_codec.js';
export * from './raft_codec.js';
export * from './snapshot_codec.js';
