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
 * Files, from the bottom up: frame_stream.ts is what the transport needs of the network; frame_format.ts, frame_parser.ts,
 * tcp_stream.ts and tcp_transport.ts give it over TCP (frame_channel.ts for clients), memory_stream.ts, memory_link.ts and memory_network.ts in a simulated
 * world. port_listener.ts and grpc_server.ts are the one port that hosts and gRPC clients share. outbox.ts gathers, handshake.ts says who may talk to whom, peer.ts is the life of one pair,
 * snapshots.ts with snapshot_send.ts and snapshot_receive.ts moves whole shards, and stream_transport.ts ties
 * them together. Real and simulated transports differ only in the streams: all else is the same code.
 *
 * Who dials. The host with the lower id dials, and dials again with growing waits (50 to 500 ms) when the stream
 * ends. Each side's first frame is a hello: cluster, both ids, incarnation, protocol version. A hello that does not fit is
 * refused with the reason, logged on both sides, and tried again only after five seconds or more. A second stream of
 * the same host takes the place of the first unless its incarnation is older.
 *
 *     dialler                                   acceptor
 *       ── exchange: hello ─────────────────────▶  checks; up
 *       ◀───────────────────────────── hello ──   up
 *       ── envelope ──▶        ◀── envelope ──    at will, both ways
 *       ◀───────────────── snapshot offer 7 ──    acceptor has a snapshot to send
 *       ── snapshot: pull 7 ───────────────────▶  on a connection of its own
 *       ◀──────────── head, chunks, end ───────
 *       ── acks ───────────────────────────────▶
 *
 * Pushing back. A socket queues writes without bound; past streamBytesInFlightMax
 * nothing is written, and what gathers leaves in one frame once the queue is empty. The outbox is bounded in
 * bytes and messages, and past that drops what comes, which the sender sees. Snapshots have a window of unacknowledged
 * bytes, a rate for all of them together, and limits on how many run at a time. All numbers are in limits.ts.
 *
 * Why not gRPC. A frame on an HTTP/2 stream took twice the CPU at least (docs/benchmarks.md), and flow control beside TCP's own
 * bought nothing. What HTTP/2 did and is done here: telling frames apart (frame_format.ts),
 * finding a peer that says nothing any more (tcp_stream.ts), the word with which a stream is refused.
 *
 * One port. Hosts and clients connect to the same address. port_listener.ts looks at the first bytes: a preamble, which says whether frames of a
 * host or of a client follow (those are the store's business: store/client_streams.ts), or anything else, which is grpc-js's. Its HTTP/2 server grants clients wider windows than it has options for (http2_windows.ts).
 *
 * Invariants.
 * - At most one connection per pair of hosts, and one more for each snapshot while it lasts; one per client and store.
 * - Nothing is delivered from a stream before its hello was accepted.
 * - peerUp and peerDown alternate for a host, and messages lie between them.
 * - Handlers are never called from within a call to the transport.
 * - Every snapshot send settles once and closes its source; every sink gets finish() or abort(), once.
 * - Bytes that cannot be decoded end the stream they came on and nothing else.
 *
 * What is missing: TLS between hosts; a lane of its own for urgent envelopes behind a large one.
 */
export * from './grpc_server.js';
export * from './memory_network.js';
export * from './tcp_transport.js';
export { snapshotChunkBytesMax, snapshotChunkBytesTarget } from './limits.js';
export { SnapshotError, type SnapshotErrorCode } from './snapshot_error.js';
export type * from './transport.js';
