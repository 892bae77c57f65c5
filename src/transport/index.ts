/**
 * The transport: how hosts (stores, placement members) reach each other.
 *
 * Purpose. A host has thousands of groups and a handful of peers. So everything that groups have to say to one
 * host in one turn of the event loop travels as one frame, over one connection per pair of hosts. Above it are
 * groups that repeat themselves (Raft); so the transport promises little: at most once, in order while a
 * connection lasts, and a word (peerUp, peerDown) when that changes. It never repeats and never waits to fill a frame.
 *
 *     MultiRaft ── sendMessage, sendBeat, ... ──▶ Outbox ── flush() ──▶ Envelope frame ──▶ FrameStream ──▶ peer
 *     MultiRaft ◀── TransportHandlers ◀── dispatch ◀── decode ◀──────────────────────────── FrameStream ◀──
 *
 * Files, from the bottom up: frame_stream.ts is what the transport needs of the network; grpc_stream.ts,
 * grpc_transport.ts and grpc_server.ts give it with grpc-js, memory_stream.ts, memory_link.ts and memory_network.ts
 * in a simulated world. outbox.ts gathers, handshake.ts says who may talk to whom, peer.ts is the life of one pair,
 * snapshots.ts with snapshot_send.ts and snapshot_receive.ts moves whole shards, and stream_transport.ts ties
 * them together. Real and simulated transports differ only in the streams: all else is the same code.
 *
 * Who dials. The host with the lower id dials, and dials again with growing waits (50 to 500 ms) when the stream
 * ends. Each side's first frame is a hello: cluster, both ids, incarnation, protocol version. A hello that does not fit is
 * refused with the reason, logged on both sides, and tried again only after five seconds or more. A second stream of
 * the same host takes the place of the first unless its incarnation is older.
 *
 *     dialler                                   acceptor
 *       ── Exchange: hello ─────────────────────▶  checks; up
 *       ◀───────────────────────────── hello ──   up
 *       ── envelope ──▶        ◀── envelope ──    at will, both ways
 *       ◀───────────────── snapshot offer 7 ──    acceptor has a snapshot to send
 *       ── Snapshot: pull 7 ───────────────────▶  on the same connection
 *       ◀──────────── head, chunks, end ───────
 *       ── acks ───────────────────────────────▶
 *
 * Pushing back. grpc-js queues writes without bound, so bytes on their way are counted; past streamBytesInFlightMax
 * nothing is written, and what gathers leaves in one frame once the stream drains. The outbox is bounded in
 * bytes and messages, and past that drops what comes, which the sender sees. Snapshots have a window of unacknowledged
 * bytes, a rate for all of them together, and limits on how many run at a time. All numbers are in limits.ts.
 *
 * Flow control. HTTP/2 grants 64 KiB per stream and connection by default, less than a busy turn's frame, which then
 * waits in its middle for the receiver's next turn. grpc-js can widen that for what the dialling side receives
 * (`grpc-node.flow_control_window`) but not for what a server receives; server_internals.ts does that.
 *
 * Invariants.
 * - At most one connection per pair of hosts; snapshot streams share it.
 * - Nothing is delivered from a stream before its hello was accepted.
 * - peerUp and peerDown alternate for a host, and messages lie between them.
 * - Handlers are never called from within a call to the transport.
 * - Every snapshot send settles once and closes its source; every sink gets finish() or abort(), once.
 * - Bytes that cannot be decoded end the stream they came on and nothing else.
 *
 * What is missing: TLS between hosts; snapshots that go on where a broken stream left off; a lane of its own for
 * urgent envelopes behind a large one; framed TCP in the place of HTTP/2, should profiles ask for it.
 */
export * from './grpc_server.js';
export * from './grpc_transport.js';
export * from './memory_network.js';
export { snapshotChunkBytesMax, snapshotChunkBytesTarget } from './limits.js';
export { SnapshotError, type SnapshotErrorCode } from './snapshot_error.js';
export type * from './transport.js';
