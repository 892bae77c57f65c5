/**
 * What the transport needs of the thing below it: two-way streams of frames between two hosts. TCP
 * gives one, the simulator's network another. Everything above (hello, outbox, reconnecting,
 * snapshots) is the same code on both.
 */

/** Why a stream is over. `refused`: the other side does not want this host, and asking again soon is useless. */
export interface StreamClose {
  readonly kind: 'ended' | 'refused' | 'failed';
  readonly reason: string;
}

/** A two-way stream of frames, each delivered whole, in order, or not at all once the stream broke. */
export interface FrameStream {
  /** Called once, before the first turn of the event loop after the stream was made. */
  listen(listener: FrameListener): void;
  /** Takes the frame in any case. False: give no more until drained(). */
  write(frame: Buffer): boolean;
  /** Nothing more will be written; what was written still arrives. */
  end(): void;
  /** Breaks the stream; the listener hears nothing more. With a refusal the other side learns the reason. */
  destroy(refusal?: string): void;
}

/** Never called from within a call to the stream. */
export interface FrameListener {
  /** The other side is there, and speaks the same version. */
  opened?(): void;
  frame(bytes: Buffer): void;
  /** After write() returned false: the stream takes more. */
  drained(): void;
  /** At most once, and the last call. The other side ended or the stream broke; this side need not end it. */
  closed(close: StreamClose): void;
}

/** The way to one host, for all streams that this host opens to it. */
export interface Connection {
  openExchange(): FrameStream;
  openSnapshot(): FrameStream;
  /** Breaks all streams. */
  close(): void;
}

/** Makes connections. Never fails by itself: a connection that cannot be made closes its streams. */
export interface Connector {
  connect(hostId: number, address: string): Connection;
}
