import { assert } from '../base/assert.js';
import type { Runtime } from '../base/runtime.js';
import type { Connection, Connector, FrameStream, StreamClose } from './frame_stream.js';
import { silenceNoticedMs } from './limits.js';
import { calmLink, MemoryLink, type LinkPolicy } from './memory_link.js';
import { MemoryStream } from './memory_stream.js';
import { StreamTransport, type StreamTransportOptions } from './stream_transport.js';

export { calmLink, type LinkPolicy };

/** How the network hands incoming streams to a host. */
interface Acceptor {
  readonly hostId: number;
  exchange(stream: FrameStream): void;
  snapshot(stream: FrameStream): void;
}

interface StreamPair {
  readonly dialler: MemoryStream;
  readonly acceptor: MemoryStream;
  readonly links: readonly MemoryLink[];
}

interface MemoryConnection {
  readonly from: number;
  readonly to: number;
  readonly streams: Set<StreamPair>;
}

export interface MemoryNetworkOptions {
  readonly runtime: Runtime;
  /** Of every direction that has no policy of its own. */
  readonly policy?: LinkPolicy;
  /** Hands a host what arrived for it. The simulator holds it back while the host's event loop stands still. */
  readonly deliver?: (hostId: number, receive: () => void) => void;
}

const lostContact: StreamClose = { kind: 'failed', reason: 'nothing came for too long' };

/**
 * A network of hosts in one process, for the simulator. Everything random and every delay comes from the Runtime,
 * so a seed decides the whole run. The transports on it run the same code as the real one (hello, codecs, outbox,
 * reconnecting, snapshot streams); only the streams below are simulated.
 */
export class MemoryNetwork {
  private readonly runtime: Runtime;
  private readonly deliver: (hostId: number, receive: () => void) => void;
  private policy: LinkPolicy;
  private readonly policies = new Map<string, LinkPolicy>();
  private readonly cuts = new Set<string>();
  private readonly acceptors = new Map<string, Acceptor>();
  private readonly connections = new Set<MemoryConnection>();

  constructor(options: MemoryNetworkOptions) {
    this.runtime = options.runtime;
    this.deliver = options.deliver ?? ((_hostId, receive): void => receive());
    this.policy = options.policy ?? calmLink;
  }

  /** The behaviour of every direction without a policy of its own, from now on. */
  setDefaultPolicy(policy: LinkPolicy): void {
    this.policy = policy;
  }

  /** The behaviour from one host to another; null: the default. */
  setPolicy(from: number, to: number, policy: LinkPolicy | null): void {
    if (policy === null) this.policies.delete(direction(from, to));
    else this.policies.set(direction(from, to), policy);
  }

  /**
   * Nothing passes from `from` to `to` any more. What is sent waits, as with TCP; a connection that stays cut in
   * either direction for silenceNoticedMs breaks at both ends.
   */
  cut(from: number, to: number): void {
    this.cuts.add(direction(from, to));
    for (const connection of this.between(from, to)) this.watchContact(connection);
  }

  /** Cuts both directions. */
  partition(a: number, b: number): void {
    this.cut(a, b);
    this.cut(b, a);
  }

  /** Both directions carry again. */
  heal(a: number, b: number): void {
    this.cuts.delete(direction(a, b));
    this.cuts.delete(direction(b, a));
    for (const connection of this.between(a, b)) {
      for (const { links } of connection.streams) for (const link of links) link.heal();
    }
  }

  healAll(): void {
    this.cuts.clear();
    for (const { streams } of this.connections) {
      for (const { links } of streams) for (const link of links) link.heal();
    }
  }

  /** Breaks the connection between two hosts, if there is one; they may connect again. */
  disconnect(a: number, b: number): void {
    for (const connection of this.between(a, b)) {
      this.breakConnection(connection, { kind: 'failed', reason: 'the connection was reset' });
    }
  }

  /** Connections between two hosts. */
  connectionCount(a: number, b: number): number {
    return this.between(a, b).length;
  }

  /** For MemoryTransport: listens at an address. */
  listen(address: string, acceptor: Acceptor): void {
    assert(!this.acceptors.has(address), () => `another host listens at ${address}`);
    this.acceptors.set(address, acceptor);
  }

  /** For MemoryTransport: stops to listen, if it is still this one that does. */
  unlisten(address: string, hostId: number): void {
    if (this.acceptors.get(address)?.hostId === hostId) this.acceptors.delete(address);
  }

  /** For MemoryTransport: what `hostId` dials through. */
  connector(hostId: number): Connector {
    return { connect: (toId, address) => this.connect(hostId, toId, address) };
  }

  private connect(from: number, to: number, address: string): Connection {
    const connection: MemoryConnection = { from, to, streams: new Set() };
    this.connections.add(connection);
    if (this.isCut(from, to) || this.isCut(to, from)) this.watchContact(connection);
    return {
      openExchange: () => this.open(connection, address, 'exchange'),
      openSnapshot: () => this.open(connection, address, 'snapshot'),
      close: () => {
        this.connections.delete(connection);
        for (const { dialler, acceptor, links } of connection.streams) {
          // The other end hears of it when the news arrives, this one in the next turn.
          links[0]?.send({ kind: 'close', close: { kind: 'failed', reason: 'the connection was closed' } });
          this.runtime.nextTurn(() => dialler.fail({ kind: 'failed', reason: 'the connection was closed' }));
          this.runtime.after(silenceNoticedMs, () => acceptor.fail(lostContact));
        }
      },
    };
  }

  private open(connection: MemoryConnection, address: string, kind: 'exchange' | 'snapshot'): FrameStream {
    const { from, to } = connection;
    const forth = new MemoryLink(this.world(from, to), kind === 'exchange');
    const back = new MemoryLink(this.world(to, from), kind === 'exchange');
    const dialler = new MemoryStream(forth);
    const acceptor = new MemoryStream(back);
    const pair: StreamPair = { dialler, acceptor, links: [forth, back] };
    connection.streams.add(pair);
    forth.join(dialler, (packet) => {
      this.deliver(to, () => {
        if (packet.kind === 'open') this.acceptAt(address, kind, pair);
        else acceptor.receive(packet);
      });
      if (packet.kind === 'close') connection.streams.delete(pair);
    });
    back.join(acceptor, (packet) => {
      this.deliver(from, () => dialler.receive(packet));
      if (packet.kind === 'close') connection.streams.delete(pair);
    });
    forth.send({ kind: 'open' });
    return dialler;
  }

  /** The first packet of a stream reaches its address. */
  private acceptAt(address: string, kind: 'exchange' | 'snapshot', { acceptor }: StreamPair): void {
    const host = this.acceptors.get(address);
    if (host === undefined) acceptor.destroy();
    else host[kind](acceptor);
  }

  private breakConnection(connection: MemoryConnection, close: StreamClose): void {
    this.connections.delete(connection);
    const { streams } = connection;
    this.runtime.nextTurn(() => {
      for (const { dialler, acceptor } of streams) {
        this.deliver(connection.from, () => dialler.fail(close));
        this.deliver(connection.to, () => acceptor.fail(close));
      }
    });
  }

  /** Breaks a connection that is still cut when its ends notice the silence. */
  private watchContact(connection: MemoryConnection): void {
    const { from, to } = connection;
    this.runtime.after(silenceNoticedMs, () => {
      if (!this.connections.has(connection)) return;
      if (this.isCut(from, to) || this.isCut(to, from)) this.breakConnection(connection, lostContact);
    });
  }

  private world(from: number, to: number): ConstructorParameters<typeof MemoryLink>[0] {
    return {
      runtime: this.runtime,
      isCut: () => this.isCut(from, to),
      policy: () => this.policies.get(direction(from, to)) ?? this.policy,
    };
  }

  private isCut(from: number, to: number): boolean {
    return this.cuts.has(direction(from, to));
  }

  private between(a: number, b: number): MemoryConnection[] {
    return [...this.connections].filter(({ from, to }) => (from === a && to === b) || (from === b && to === a));
  }
}

function direction(from: number, to: number): string {
  return `${from}>${to}`;
}

export interface MemoryTransportOptions extends StreamTransportOptions {
  readonly network: MemoryNetwork;
  /** Where others find this host. */
  readonly address: string;
}

/**
 * A host's transport on a MemoryNetwork. Closing it looks to the others as the death of the process does: its connections
 * are reset. A machine that loses power is one that is cut from all others first.
 */
export class MemoryTransport extends StreamTransport {
  private readonly network: MemoryNetwork;
  private readonly address: string;
  private readonly hostId: number;

  constructor(options: MemoryTransportOptions) {
    super(options, options.network.connector(options.hostId));
    this.network = options.network;
    this.address = options.address;
    this.hostId = options.hostId;
    this.network.listen(options.address, {
      hostId: options.hostId,
      exchange: (stream) => this.acceptExchange(stream),
      snapshot: (stream) => this.acceptSnapshot(stream),
    });
  }

  override async close(): Promise<void> {
    this.network.unlisten(this.address, this.hostId);
    await super.close();
  }
}
