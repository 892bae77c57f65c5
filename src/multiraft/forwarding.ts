import type { HostContext } from './context.js';
import type { TickWork } from './ticker.js';

interface Outstanding {
  readonly hostId: number;
  readonly deadlineTick: number;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export type ForwardFailure = 'busy' | 'notConnected' | 'disconnected' | 'timeout' | 'stopped';

/**
 * A request passed to another host got no answer. busy and notConnected: it was certainly not sent; otherwise whether it
 * was served is not known.
 */
export class ForwardError extends Error {
  override readonly name = 'ForwardError';
  readonly reason: ForwardFailure;

  constructor(reason: ForwardFailure) {
    super(`request to another host: ${reason}`);
    this.reason = reason;
  }
}

/** Requests passed between hosts, each at most once, matched to their answers by id. Deadlines are checked on ticks. */
export class Forwarding implements TickWork {
  private readonly host: HostContext;
  private readonly outstanding = new Map<number, Outstanding>();
  private nextId = 1;
  private serving = 0;

  constructor(host: HostContext) {
    this.host = host;
  }

  send(hostId: number, payload: Buffer, timeoutMs: number): Promise<Buffer> {
    const { options, transport } = this.host;
    if (this.host.failed || this.host.closed) return Promise.reject(new ForwardError('stopped'));
    if (this.outstanding.size >= options.limits.forwardsOutstanding) return Promise.reject(new ForwardError('busy'));
    const id = this.nextId++;
    if (!transport.sendForward(hostId, id, payload)) return Promise.reject(new ForwardError('notConnected'));
    this.host.wake();
    const deadlineTick = this.host.tick + Math.ceil(timeoutMs / options.tickMs) + 1;
    return new Promise((resolve, reject) => this.outstanding.set(id, { hostId, deadlineTick, resolve, reject }));
  }

  /** Another host passed a request on. */
  serve(fromHost: number, id: number, payload: Buffer): void {
    if (this.serving >= this.host.options.limits.forwardsServing) {
      this.host.counters.messagesDropped++;
      return;
    }
    this.serving++;
    this.host.callbacks.forwarded(fromHost, payload).then(
      (answer) => {
        this.serving--;
        if (this.host.failed || this.host.closed) return;
        this.host.transport.sendForwardResponse(fromHost, id, answer);
        this.host.wake();
      },
      (error: unknown) => {
        this.serving--;
        // No answer: its sender treats the outcome as unknown, which is what it is.
        this.host.logger.error({ err: error, fromHost }, 'forwarded request failed');
      },
    );
  }

  answered(fromHost: number, id: number, payload: Buffer): void {
    const request = this.outstanding.get(id);
    if (request === undefined || request.hostId !== fromHost) return;
    this.outstanding.delete(id);
    request.resolve(payload);
  }

  hostLost(hostId: number): void {
    this.rejectWhere((request) => request.hostId === hostId, 'disconnected');
  }

  tick(): void {
    const now = this.host.tick;
    this.rejectWhere((request) => request.deadlineTick <= now, 'timeout');
  }

  stop(): void {
    this.rejectWhere(() => true, 'stopped');
  }

  private rejectWhere(matches: (request: Outstanding) => boolean, reason: ForwardFailure): void {
    for (const [id, request] of this.outstanding) {
      if (!matches(request)) continue;
      this.outstanding.delete(id);
      request.reject(new ForwardError(reason));
    }
  }
}
