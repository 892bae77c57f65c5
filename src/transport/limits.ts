import { assert } from '../base/assert.js';
import { commandBytesMax, frameBytesMax, keyBytesMax, valueBytesMax } from '../base/limits.js';

/** Bytes that wait for one peer. Several frames' worth: past it a busy or slow peer is told less, and Raft sends again. */
export const outboxBytesMax = 64 * 1024 * 1024;
/** Messages that wait for one peer: every shard of a large store may have one or two waiting. */
export const outboxMessagesMax = 131_072;
/** One envelope grows no larger; what is left goes in the next one. Leaves room for framing below frameBytesMax. */
export const envelopeBytesMax = 32 * 1024 * 1024;
/** Bytes given to a stream and not yet taken by the socket; past it messages gather instead, and leave as one frame. */
export const streamBytesInFlightMax = 1024 * 1024;
/** Hosts that may be connected at a time: a cluster's stores, with room. */
export const peersMax = 1024;

/** Flow control window of a client's HTTP/2 streams and connections: a frame of a busy turn fits without waiting for credit. */
export const flowControlWindowBytes = 4 * 1024 * 1024;
/** Streams that one client connection may have open at a time. */
export const concurrentStreamsMax = 10_000;

/** Each end of a connection between hosts says something at least every two such intervals ... */
export const aliveIntervalMs = 100;
/** ... and takes the other end for lost after so many without a byte: 0.7 s, less than the shortest election timeout. */
export const silentIntervalsMax = 7;
/** The longest time until a silence is noticed. */
export const silenceNoticedMs = aliveIntervalMs * (silentIntervalsMax + 1);
/** The same for the connection of a client, of which a store may have thousands: it says something every second at least ... */
export const clientAliveIntervalMs = 500;
/** ... is given up by its store after 4 s without a byte ... */
export const clientSilentIntervalsMax = 8;
/** ... and gives its store up after 1.5 to 2 s, when other replicas lead. */
export const storeSilentIntervalsMax = 3;
/** What a gRPC server does to find lost clients, whose event loops may stall for longer than a store's. */
export const serverKeepaliveTimeMs = 1_000;
export const serverKeepaliveTimeoutMs = 3_000;

/** First and longest wait between two attempts to connect; doubled each time, with jitter. */
export const reconnectMinMs = 50;
export const reconnectMaxMs = 500;
/** Wait after a refused hello: a wrong cluster or version does not heal by itself within seconds. */
export const refusedRetryMs = 5_000;
/** From the first byte to the other side's hello. */
export const handshakeTimeoutMs = 2_000;
/** Connections that have not said yet whether they are of a host or a client; past it the oldest is closed. */
export const unknownConnectionsMax = 1_024;
/** The first frame on a connection, before anybody knows who is speaking: a hello, or the head of a snapshot. */
export const firstFrameBytesMax = 1024 * 1024;
/** A connection that is over is kept this long for its last bytes (a refusal's reason) to arrive. */
export const lingerMs = 1_000;

/** What a source of snapshot rows should aim at: large enough to be cheap, small enough not to hold envelopes up. */
export const snapshotChunkBytesTarget = 256 * 1024;
/** A chunk larger than this is refused. Holds the largest row with its framing. */
export const snapshotChunkBytesMax = 9 * 1024 * 1024;
/** Bytes of chunks sent and not yet acknowledged as staged (one chunk may always be on its way). */
export const snapshotWindowBytes = 4 * 1024 * 1024;
/** Default of the rate at which a host sends snapshots, all receivers together. */
export const snapshotBytesPerSecondDefault = 64 * 1024 * 1024;
/** What may leave at once after a pause. */
export const snapshotBurstMs = 20;
/** Snapshots that a host sends at a time; each holds a consistent view of a shard open. */
export const snapshotSendsMax = 8;
/** Snapshots that a host takes in at a time; each costs disk writes beside those of live shards. */
export const snapshotReceivesMax = 8;
/** A snapshot stream with no progress for this long is broken off. */
export const snapshotIdleTimeoutMs = 30_000;
/** From a snapshot's offer to the stream that the other side opens for it. */
export const snapshotOfferTimeoutMs = 10_000;
/**
 * A sender whose snapshot stream broke waits this long for the receiver to be connected again. Meanwhile its view of the
 * shard stays open.
 */
export const snapshotResumeWaitMs = 20_000;
/** It looks this often whether the receiver is there. */
export const snapshotResumePauseMs = 200;
/** Streams in a row that carried nothing new, after which the sender gives up. */
export const snapshotResumesFruitlessMax = 4;
/** What a receiver has of a snapshot whose stream broke is kept this long for the sender to come back. */
export const snapshotParkedMs = 30_000;
/** Such snapshots of a host; past it the oldest is thrown away. Less than are received at a time: others must get on. */
export const snapshotsParkedMax = 2;
/** Text of a failure that travels to the other side. */
export const failureTextMax = 500;

/** A stopping server waits this long for calls in progress, then cuts them. */
export const serverCloseGraceMs = 1_000;

assert(commandBytesMax * 2 <= envelopeBytesMax, 'the largest command fits an envelope with room for others');
assert(envelopeBytesMax * 2 <= frameBytesMax, 'an envelope of the largest size, one message over, fits a frame');
assert(envelopeBytesMax <= outboxBytesMax, 'the outbox holds at least one envelope');
assert(valueBytesMax + keyBytesMax < snapshotChunkBytesMax, 'the largest row fits a chunk');
assert(snapshotChunkBytesMax < frameBytesMax, 'a chunk fits a frame');
assert(snapshotChunkBytesTarget * 4 <= snapshotWindowBytes, 'several chunks are on their way at a time');
assert(snapshotResumeWaitMs + handshakeTimeoutMs < snapshotParkedMs, 'what is kept outlasts the wait of its sender');
assert(
  2 * aliveIntervalMs < silenceNoticedMs / 3,
  'an end that speaks every two intervals may be late before it is lost',
);
assert(firstFrameBytesMax > 4 * keyBytesMax && firstFrameBytesMax <= frameBytesMax, 'a shard with its bounds fits');
assert(reconnectMinMs * 2 <= reconnectMaxMs && reconnectMaxMs * 2 <= refusedRetryMs, 'waits grow');
