import { EventEmitter } from 'node:events';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import { must } from '../../src/base/assert.js';
import type {
  Dial,
  Headers,
  RpcChannel,
  RpcMethod,
  RpcStream,
  StreamHandlers,
  UnaryOptions,
} from '../../src/rpc/channel.js';
import { RpcError } from '../../src/rpc/channel.js';
import type { VirtualRuntime } from './virtual_runtime.js';

/**
 * Calls between processes on virtual time: the services' own handlers, the real message codecs, and a network that
 * delays, is cut, and loses processes.
 *
 * A connection keeps the order of what it carries. While a direction is cut, packets wait; a connection that stays cut, or whose
 * other end stands still, for as long as keepalive takes breaks at both ends. A process that dies resets its connections.
 */
export interface MemoryRpcOptions {
  readonly runtime: VirtualRuntime;
  isCut(from: string, to: string): boolean;
  /** How long a packet takes from one end to the other, in ms. */
  delayMs(from: string, to: string): number;
}

export interface RpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

interface Host {
  readonly runtime: VirtualRuntime;
  readonly services: readonly RpcService[];
}

/** Time without contact after which a connection breaks: keepalive and its timeout (src/rpc/grpc_channel.ts). */
const keepaliveCheckMs = 1_000;
const keepaliveChecksMax = 2;
/** Bytes on their way past which a stream's write() says to wait. */
const streamBytesMax = 1024 * 1024;

export class MemoryRpc {
  private readonly options: MemoryRpcOptions;
  private readonly hosts = new Map<string, Host>();
  private readonly lines = new Set<Line>();

  constructor(options: MemoryRpcOptions) {
    this.options = options;
  }

  listen(address: string, runtime: VirtualRuntime, services: readonly RpcService[]): void {
    this.hosts.set(address, { runtime, services });
  }

  /** The process at this address (or of this name) is gone. */
  drop(name: string): void {
    this.hosts.delete(name);
    for (const line of [...this.lines]) {
      if (line.from === name || line.to === name) line.break('the connection was reset');
    }
  }

  /** Cuts have changed: what waited goes on where the way is free. */
  healed(): void {
    for (const line of this.lines) line.healed();
  }

  /** What a process of this name dials through. */
  dial(from: string, runtime: VirtualRuntime): Dial {
    return (address) => new MemoryChannel(() => this.connect(from, runtime, address), runtime);
  }

  /** Resolves to a line, or to the reason why there is none. */
  private connect(from: string, runtime: VirtualRuntime, address: string): Promise<Line | string> {
    const net = this.options;
    return new Promise((resolve) => {
      net.runtime.after(net.delayMs(from, address) * 2, () => {
        const host = this.hosts.get(address);
        if (net.isCut(from, address) || net.isCut(address, from) || host?.runtime.isPaused === true) return;
        if (host === undefined) {
          runtime.run(() => resolve(`no connection to ${address}`));
          return;
        }
        const line = new Line(net, from, runtime, address, host, () => this.lines.delete(line));
        this.lines.add(line);
        runtime.run(() => resolve(line));
      });
    });
  }
}

/** One direction of a line. */
class Direction {
  private readonly net: MemoryRpcOptions;
  private readonly from: string;
  private readonly to: string;
  private readonly queue: (() => void)[] = [];
  private overdue = 0;
  private lastAtMs = 0;

  constructor(net: MemoryRpcOptions, from: string, to: string) {
    this.net = net;
    this.from = from;
    this.to = to;
  }

  send(arrive: () => void): void {
    this.queue.push(arrive);
    this.schedule();
  }

  healed(): void {
    if (this.net.isCut(this.from, this.to)) return;
    const { overdue } = this;
    this.overdue = 0;
    for (let i = 0; i < overdue; i++) this.schedule();
  }

  private schedule(): void {
    const nowMs = this.net.runtime.nowMs();
    this.lastAtMs = Math.max(this.lastAtMs, nowMs + this.net.delayMs(this.from, this.to));
    this.net.runtime.after(this.lastAtMs - nowMs, () => {
      if (this.net.isCut(this.from, this.to)) this.overdue++;
      else this.queue.shift()?.();
    });
  }
}

/** A connection, from the one who dialled to the one who listens. */
class Line {
  readonly from: string;
  readonly to: string;
  readonly host: Host;
  broken: string | null = null;
  private readonly net: MemoryRpcOptions;
  private readonly runtime: VirtualRuntime;
  private readonly forth: Direction;
  private readonly back: Direction;
  private readonly onBreak: () => void;
  private readonly watchers = new Set<{ client(reason: string): void; server(): void }>();
  private missed = 0;

  constructor(
    net: MemoryRpcOptions,
    from: string,
    runtime: VirtualRuntime,
    to: string,
    host: Host,
    onBreak: () => void,
  ) {
    this.net = net;
    this.from = from;
    this.runtime = runtime;
    this.to = to;
    this.host = host;
    this.onBreak = onBreak;
    this.forth = new Direction(net, from, to);
    this.back = new Direction(net, to, from);
    this.watchContact();
  }

  toServer(arrive: () => void): void {
    this.forth.send(() => {
      if (this.broken === null) this.host.runtime.run(arrive);
    });
  }

  toClient(arrive: () => void): void {
    this.back.send(() => {
      if (this.broken === null) this.runtime.run(arrive);
    });
  }

  /** Tells both ends of a call when the line breaks; returns what takes this back. */
  watch(watcher: { client(reason: string): void; server(): void }): () => void {
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  }

  healed(): void {
    this.forth.healed();
    this.back.healed();
  }

  break(reason: string): void {
    if (this.broken !== null) return;
    this.broken = reason;
    this.onBreak();
    for (const watcher of [...this.watchers]) {
      this.net.runtime.nextTurn(() => {
        this.runtime.run(() => watcher.client(reason));
        this.host.runtime.run(() => watcher.server());
      });
    }
    this.watchers.clear();
  }

  private watchContact(): void {
    this.net.runtime.after(keepaliveCheckMs, () => {
      if (this.broken !== null) return;
      const silent =
        this.net.isCut(this.from, this.to) ||
        this.net.isCut(this.to, this.from) ||
        this.host.runtime.isPaused ||
        this.runtime.isPaused;
      this.missed = silent ? this.missed + 1 : 0;
      if (this.missed >= keepaliveChecksMax) this.break('no answer to keepalive');
      else this.watchContact();
    });
  }
}

class MemoryChannel implements RpcChannel {
  private readonly connect: () => Promise<Line | string>;
  private readonly runtime: VirtualRuntime;
  private line: Line | null = null;
  private closed = false;

  constructor(connect: () => Promise<Line | string>, runtime: VirtualRuntime) {
    this.connect = connect;
    this.runtime = runtime;
  }

  async connected(timeoutMs: number): Promise<string | null> {
    if (this.closed) return 'the channel was closed';
    if (this.line !== null && this.line.broken === null) return null;
    const late = new Promise<string>((resolve) => {
      this.runtime.after(timeoutMs, () => resolve(`no connection within ${timeoutMs} ms`));
    });
    const found = await Promise.race([this.connect(), late]);
    if (typeof found === 'string') return found;
    if (this.isClosed()) {
      found.break('the channel was closed');
      return 'the channel was closed';
    }
    if (this.line === null || this.line.broken !== null) this.line = found;
    return null;
  }

  async unary<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    options: UnaryOptions,
  ): Promise<Reply> {
    const bytes = method.requestSerialize(request);
    const untilMs = this.runtime.nowMs() + options.timeoutMs;
    const problem = await this.connected(options.timeoutMs);
    if (problem !== null || this.line === null) throw new RpcError('failed', problem ?? 'not connected');
    const { line } = this;
    return new Promise((resolve, reject) => {
      const leftMs = Math.max(0, untilMs - this.runtime.nowMs());
      const timer = this.runtime.after(leftMs, () => {
        unwatch();
        reject(new RpcError('deadline', `no answer within ${options.timeoutMs} ms`));
      });
      const unwatch = line.watch({
        client: (reason) => {
          timer.cancel();
          reject(new RpcError('failed', reason));
        },
        server: () => undefined,
      });
      const answer = (error: RpcError | null, reply: Buffer): void => {
        timer.cancel();
        unwatch();
        if (error === null) resolve(method.responseDeserialize(reply));
        else reject(error);
      };
      line.toServer(() => serveUnary(line, method.path, bytes, leftMs, options.headers ?? {}, answer));
    });
  }

  serverStream<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    handlers: StreamHandlers<Reply>,
    headers: Headers = {},
  ): RpcStream<never> {
    return this.stream(method, handlers, headers, method.requestSerialize(request));
  }

  duplex<Request, Reply>(method: RpcMethod<Request, Reply>, handlers: StreamHandlers<Reply>): RpcStream<Request> {
    return this.stream(method, handlers, {}, null);
  }

  close(): void {
    this.closed = true;
    this.line?.break('the channel was closed');
  }

  // A method of its own, because close() may have been called during an await.
  private isClosed(): boolean {
    return this.closed;
  }

  private stream<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    handlers: StreamHandlers<Reply>,
    headers: Headers,
    request: Buffer | null,
  ): RpcStream<Request> {
    const stream = new ClientStream(method, handlers);
    const begin = (line: Line): void => stream.begin(line, headers, request);
    if (this.line !== null && this.line.broken === null) begin(this.line);
    else {
      // A stream may be asked for before the line is there, as with gRPC.
      void this.connected(keepaliveCheckMs * keepaliveChecksMax).then((problem) => {
        if (problem !== null || this.line === null) stream.end(problem ?? 'not connected');
        else begin(this.line);
      });
    }
    return stream;
  }
}

class ClientStream<Request, Reply> implements RpcStream<Request> {
  private readonly method: RpcMethod<Request, Reply>;
  private readonly handlers: StreamHandlers<Reply>;
  private line: Line | null = null;
  private call: ServerCall | null = null;
  private over = false;
  private unwatch: () => void = () => undefined;
  private early: Buffer[] = [];
  private inFlightBytes = 0;
  private blocked = false;

  constructor(method: RpcMethod<Request, Reply>, handlers: StreamHandlers<Reply>) {
    this.method = method;
    this.handlers = handlers;
  }

  begin(line: Line, headers: Headers, request: Buffer | null): void {
    if (this.over) return;
    this.line = line;
    const call = new ServerCall(line, headers, Infinity, {
      frame: (bytes) => {
        if (!this.over) this.handlers.frame(this.method.responseDeserialize(bytes));
      },
      ended: (reason) => this.end(reason),
    });
    this.call = call;
    this.unwatch = line.watch({ client: (reason) => this.end(reason), server: () => call.cancel() });
    line.toServer(() => call.open(this.method.path, request));
    for (const bytes of this.early.splice(0)) this.send(line, call, bytes);
  }

  write(request: Request): boolean {
    if (this.over) return true;
    const bytes = this.method.requestSerialize(request);
    if (this.line === null || this.call === null) this.early.push(bytes);
    else this.send(this.line, this.call, bytes);
    return !this.blocked;
  }

  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.unwatch();
    const { line, call } = this;
    if (line !== null && call !== null) line.toServer(() => call.cancel());
  }

  end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.unwatch();
    this.handlers.closed(reason);
  }

  private send(line: Line, call: ServerCall, bytes: Buffer): void {
    this.inFlightBytes += bytes.length;
    this.blocked = this.inFlightBytes > streamBytesMax;
    line.toServer(() => {
      call.receive(bytes);
      line.toClient(() => this.taken(bytes.length));
    });
  }

  private taken(bytes: number): void {
    this.inFlightBytes -= bytes;
    if (!this.blocked || this.over || this.inFlightBytes > streamBytesMax) return;
    this.blocked = false;
    this.handlers.drained?.();
  }
}

interface ReplySink {
  frame(bytes: Buffer): void;
  ended(reason: string): void;
}

/** The server's end of a stream, with the part of grpc-js' interface that the services use. */
class ServerCall extends EventEmitter {
  readonly metadata: Metadata;
  request: unknown = null;
  destroyed = false;
  private readonly line: Line;
  private readonly deadlineMs: number;
  private readonly sink: ReplySink;
  private readonly waiting: Buffer[] = [];
  private paused = false;
  private method: FoundMethod | null = null;

  constructor(line: Line, headers: Headers, deadlineMs: number, sink: ReplySink) {
    super();
    this.line = line;
    this.deadlineMs = deadlineMs;
    this.sink = sink;
    this.metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) this.metadata.set(name, value);
    // grpc-js ends the stream with the status that a handler emits.
    this.on('error', (error: { readonly details?: string }) => this.finish(error.details ?? 'the handler failed'));
  }

  getDeadline(): number {
    return this.deadlineMs;
  }

  open(path: string, request: Buffer | null): void {
    const found = findMethod(this.line.host, path);
    if (found === null) {
      this.finish(`${path} is not implemented`);
      return;
    }
    this.method = found;
    if (request !== null) this.request = found.requestDeserialize(request);
    found.handle(this);
  }

  receive(bytes: Buffer): void {
    if (this.destroyed || this.method === null) return;
    if (this.paused) this.waiting.push(bytes);
    else this.emit('data', this.method.requestDeserialize(bytes));
  }

  write(reply: unknown): boolean {
    if (this.destroyed || this.method === null) return false;
    const bytes = this.method.responseSerialize(reply);
    this.line.toClient(() => this.sink.frame(bytes));
    return true;
  }

  end(): void {
    this.finish('the other side ended the stream');
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    while (!this.paused) {
      const bytes = this.waiting.shift();
      if (bytes === undefined) return;
      this.receive(bytes);
    }
  }

  /** The client gave up, or the line broke. */
  cancel(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('cancelled');
    this.emit('close');
  }

  private finish(reason: string): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.line.toClient(() => this.sink.ended(reason));
    this.emit('close');
  }
}

interface FoundMethod {
  requestDeserialize(bytes: Buffer): unknown;
  responseSerialize(reply: unknown): Buffer;
  handle(...args: unknown[]): void;
}

function findMethod(host: Host, path: string): FoundMethod | null {
  for (const { definition, implementation } of host.services) {
    for (const [name, method] of Object.entries(definition)) {
      if (method.path !== path) continue;
      const handle = must(implementation[name], `a handler of ${path}`) as (...args: unknown[]) => void;
      return {
        requestDeserialize: (bytes) => method.requestDeserialize(bytes) as unknown,
        responseSerialize: (reply) => method.responseSerialize(reply),
        handle,
      };
    }
  }
  return null;
}

function serveUnary(
  line: Line,
  path: string,
  request: Buffer,
  leftMs: number,
  headers: Headers,
  answer: (error: RpcError | null, reply: Buffer) => void,
): void {
  const found = findMethod(line.host, path);
  const nothing = Buffer.alloc(0);
  if (found === null) {
    line.toClient(() => answer(new RpcError('unimplemented', `UNIMPLEMENTED: ${path}`), nothing));
    return;
  }
  const call = new ServerCall(line, headers, line.host.runtime.wallMs() + leftMs, {
    frame: () => undefined,
    ended: () => undefined,
  });
  call.request = found.requestDeserialize(request);
  found.handle(call, (error: { readonly details?: string } | null, reply?: unknown) => {
    if (error === null) {
      const bytes = found.responseSerialize(reply);
      line.toClient(() => answer(null, bytes));
    } else {
      const message = error.details ?? 'the handler failed';
      line.toClient(() => answer(new RpcError('failed', message), nothing));
    }
  });
}
