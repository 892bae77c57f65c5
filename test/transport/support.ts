import { EventEmitter, once } from 'node:events';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { silentLogger, type Logger } from '../../src/base/logger.js';
import type { Runtime } from '../../src/base/runtime.js';
import { MsgType, newMessage, type Message } from '../../src/raft/message.js';
import { startGrpcServer, type GrpcServer } from '../../src/transport/grpc_server.js';
import { TcpTransport } from '../../src/transport/tcp_transport.js';
import type {
  Beat,
  GoneNotice,
  SnapshotHeadInfo,
  SnapshotSink,
  SnapshotSource,
  TransportHandlers,
} from '../../src/transport/transport.js';

export type Event =
  | { readonly type: 'peerUp'; readonly hostId: number; readonly incarnation: number }
  | { readonly type: 'peerDown'; readonly hostId: number }
  | { readonly type: 'message'; readonly from: number; readonly groupId: number; readonly message: Message }
  | { readonly type: 'beat'; readonly from: number; readonly beat: Beat }
  | {
      readonly type: 'forward' | 'forwardResponse';
      readonly from: number;
      readonly id: number;
      readonly payload: Buffer;
    }
  | { readonly type: 'gone'; readonly from: number; readonly gone: GoneNotice };

/** Handlers that write down what they hear, and let a test wait for it. */
export class Recorder implements TransportHandlers {
  readonly events: Event[] = [];
  onSnapshot: TransportHandlers['snapshot'] = () => Promise.reject(new Error('no snapshots here'));
  private readonly emitter = new EventEmitter();

  peerUp(hostId: number, incarnation: number): void {
    this.record({ type: 'peerUp', hostId, incarnation });
  }

  peerDown(hostId: number): void {
    this.record({ type: 'peerDown', hostId });
  }

  message(from: number, groupId: number, message: Message): void {
    this.record({ type: 'message', from, groupId, message });
  }

  beat(from: number, beat: Beat): void {
    this.record({ type: 'beat', from, beat });
  }

  forward(from: number, id: number, payload: Buffer): void {
    this.record({ type: 'forward', from, id, payload });
  }

  forwardResponse(from: number, id: number, payload: Buffer): void {
    this.record({ type: 'forwardResponse', from, id, payload });
  }

  gone(from: number, gone: GoneNotice): void {
    this.record({ type: 'gone', from, gone });
  }

  snapshot(from: number, head: SnapshotHeadInfo): Promise<SnapshotSink> {
    return this.onSnapshot(from, head);
  }

  count(type: Event['type']): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Waits until `type` was heard `count` times in all. */
  async until(type: Event['type'], count = 1): Promise<void> {
    await this.untilTrue(() => this.count(type) >= count);
  }

  async untilTrue(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.emitter, 'event');
  }

  private record(event: Event): void {
    this.events.push(event);
    this.emitter.emit('event');
  }
}

export interface HostOptions {
  readonly hostId: number;
  readonly clusterId?: number;
  readonly incarnation?: number;
  readonly address?: string;
  readonly logger?: Logger;
  readonly runtime?: Runtime;
  readonly snapshotBytesPerSecond?: number;
}

/** A transport with its server on loopback. */
export interface Host {
  readonly hostId: number;
  readonly address: string;
  readonly transport: TcpTransport;
  readonly server: GrpcServer;
  readonly heard: Recorder;
  stop(): Promise<void>;
}

export async function startHost(options: HostOptions): Promise<Host> {
  const transport = new TcpTransport({
    hostId: options.hostId,
    clusterId: options.clusterId ?? 7,
    incarnation: options.incarnation ?? 1,
    runtime: options.runtime ?? nodeRuntime(),
    logger: options.logger ?? silentLogger,
    ...(options.snapshotBytesPerSecond === undefined ? {} : { snapshotBytesPerSecond: options.snapshotBytesPerSecond }),
  });
  const server = await startGrpcServer({
    address: options.address ?? '127.0.0.1:0',
    services: [],
    serviceNames: [],
    acceptFrames: transport.acceptor(),
    closeGraceMs: 50,
  });
  const heard = new Recorder();
  await transport.start(heard);
  const stop = async (): Promise<void> => {
    await transport.close();
    await server.close();
  };
  return { hostId: options.hostId, address: `127.0.0.1:${server.port}`, transport, server, heard, stop };
}

/** Tells both hosts of each other and waits until both say that the other is up. */
export async function join(a: Host, b: Host): Promise<void> {
  const upFor = (host: Host, peer: number): Promise<void> =>
    host.heard.untilTrue(() => host.transport.isConnected(peer));
  a.transport.setPeer(b.hostId, b.address);
  b.transport.setPeer(a.hostId, a.address);
  await Promise.all([upFor(a, b.hostId), upFor(b, a.hostId)]);
}

export function appendMessage(index: number, data: Buffer = Buffer.alloc(0)): Message {
  return { ...newMessage(MsgType.MsgApp, 11, 12), term: 3, index, entries: [{ term: 3, index, type: 0, data }] };
}

export function snapshotHead(groupId: number): SnapshotHeadInfo {
  return {
    groupId,
    message: {
      ...newMessage(MsgType.MsgSnap, 11, 12),
      term: 4,
      snapshot: {
        index: 100,
        term: 3,
        confState: { voters: [11, 12, 13], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
      },
    },
    descriptor: Buffer.from('descriptor'),
    formatVersion: 1,
  };
}

/** A source of the given chunks that says whether it was closed. */
export class ListSource implements SnapshotSource {
  readonly head: SnapshotHeadInfo;
  closes = 0;
  private readonly chunks: Buffer[];

  constructor(groupId: number, chunks: readonly Buffer[]) {
    this.head = snapshotHead(groupId);
    this.chunks = [...chunks];
  }

  next(): Promise<Buffer | null> {
    return Promise.resolve(this.chunks.shift() ?? null);
  }

  close(): Promise<void> {
    this.closes++;
    return Promise.resolve();
  }
}

/** A sink that keeps what it gets and lets a test wait for its end. */
export class ListSink implements SnapshotSink {
  readonly chunks: Buffer[] = [];
  readonly emitter = new EventEmitter();
  outcome: 'finished' | 'aborted' | null = null;
  ends = 0;

  write(chunk: Buffer): Promise<void> {
    this.chunks.push(Buffer.from(chunk));
    this.emitter.emit('chunk');
    return Promise.resolve();
  }

  finish(): Promise<void> {
    return this.settle('finished');
  }

  abort(): Promise<void> {
    return this.settle('aborted');
  }

  async ended(): Promise<void> {
    while (this.outcome === null) await once(this.emitter, 'end');
  }

  private settle(outcome: 'finished' | 'aborted'): Promise<void> {
    this.outcome = outcome;
    this.ends++;
    this.emitter.emit('end');
    return Promise.resolve();
  }
}
