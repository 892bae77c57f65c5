import type { Message } from '../raft/message.js';
import type { Beat, GroupHeartbeat } from '../wire/beat_codec.js';
import type { GoneNotice } from '../wire/raft_codec.js';
import type { SnapshotHeadInfo } from '../wire/snapshot_codec.js';
import type { RefusalReason } from './handshake.js';

export type { Beat, GoneNotice, GroupHeartbeat, SnapshotHeadInfo };

/**
 * How hosts reach each other. One connection per pair of hosts (the lower id dials) for a stream of
 * envelopes, and one more for each snapshot while it lasts. Delivery is at most once and, while a
 * connection lasts, in order. A host id is a store id or a placement member id.
 */
export interface Transport {
  /** Begins to accept and to dial. Handlers are called from then on. */
  start(handlers: TransportHandlers): Promise<void>;
  /**
   * Tells where a host is; a changed address drops a connection that was dialled to the old one. Hosts not told of
   * are not dialled, but may dial.
   */
  setPeer(hostId: number, address: string): void;
  removePeer(hostId: number): void;
  /**
   * Queues for the host's next frame, which leaves at flush() or, while the connection pushes back, as
   * soon as it takes more. False: the queue is at its limit or the host is not connected; it was dropped.
   */
  sendMessage(hostId: number, groupId: number, message: Message): boolean;
  sendBeat(hostId: number, beat: Beat): boolean;
  sendForward(hostId: number, id: number, payload: Buffer): boolean;
  sendForwardResponse(hostId: number, id: number, payload: Buffer): boolean;
  sendGone(hostId: number, gone: GoneNotice): boolean;
  /** Ends the turn: at most one frame per host with all that was queued. */
  flush(): void;
  /**
   * Streams a snapshot to a host over a stream of its own; settles once, with the receiver's answer. The source is
   * closed in any case.
   * A stream that breaks on the way is followed by another that goes on where it was, while the receiver comes back in time.
   * @throws SnapshotError with a code: busy (try later), unreachable, refused, broken, timeout, source, lost, closed
   */
  sendSnapshot(hostId: number, source: SnapshotSource): Promise<void>;
  isConnected(hostId: number): boolean;
  stats(): TransportStats;
  close(): Promise<void>;
}

/** Every handler runs on the event loop, never from within a call to the transport. */
export interface TransportHandlers {
  /** incarnation grows when the peer's process restarts. */
  peerUp(hostId: number, incarnation: number): void;
  peerDown(hostId: number): void;
  message(fromHost: number, groupId: number, message: Message): void;
  beat(fromHost: number, beat: Beat): void;
  forward(fromHost: number, id: number, payload: Buffer): void;
  forwardResponse(fromHost: number, id: number, payload: Buffer): void;
  gone(fromHost: number, gone: GoneNotice): void;
  /**
   * An incoming snapshot. The handler returns a sink, or throws to refuse it. finish() resolves once the
   * snapshot is staged and handed on. abort() is called once when anything failed: the stream broke before its end and
   * no other went on with it in time, or write() or finish() rejected. write() is not called again before the last one settled.
   */
  snapshot(fromHost: number, head: SnapshotHeadInfo): Promise<SnapshotSink>;
}

export interface SnapshotSource {
  readonly head: SnapshotHeadInfo;
  /** The next run of rows, at most snapshotChunkBytesMax; null at the end. */
  next(): Promise<Buffer | null>;
  close(): Promise<void>;
}

export interface SnapshotSink {
  /** crc32 is that of the chunk, as it came with it and was checked. */
  write(chunk: Buffer, crc32: number): Promise<void>;
  finish(): Promise<void>;
  abort(): Promise<void>;
}

export interface PeerStats {
  readonly hostId: number;
  readonly connected: boolean;
  /** Why the last hello was refused, while the host is not connected; null: it was not. */
  readonly refusal: RefusalReason | null;
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly messagesSent: number;
  readonly messagesDropped: number;
}

export interface TransportStats {
  readonly peers: readonly PeerStats[];
}
