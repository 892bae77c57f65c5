import type { Runtime } from '../base/runtime.js';
import { sleep } from '../base/runtime.js';
import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';
import type { MemberList } from '../gen/skerry/v1/members.js';
import type { Dial, RpcChannel, RpcMethod, RpcStream, StreamHandlers } from '../rpc/channel.js';
import { RpcError } from '../rpc/channel.js';
import { backoffMs } from './backoff.js';
import { SkerryError } from './errors.js';
import { connectTimeoutMs, placementCallTimeoutMs, placementMembersMax } from './limits.js';
import { failureKindOf, retryTable, skerryErrorOf } from './retry_table.js';

/** Every reply of the placement service carries its typed error like this. */
export interface TypedReply {
  readonly error?: ErrorReply | undefined;
}

export interface CallLimits {
  /** On the runtime's monotonic clock. */
  readonly deadlineMs: number;
  /** True: the call may be repeated although an earlier attempt may have taken effect. */
  readonly repeatable: boolean;
  /** The longest that one member may take; the default suits everything that does not wait on purpose. */
  readonly attemptMs?: number;
}

/**
 * The members of the placement service, in rotation. Any member answers and passes on to its leader what needs it,
 * so a call stays with the member that answered last and goes on to the next one when that fails.
 */
export class PlacementMembers {
  readonly #runtime: Runtime;
  readonly #dial: Dial;
  readonly #named: readonly string[];
  #addresses: readonly string[];
  #version = 0;
  readonly #channels = new Map<string, RpcChannel>();
  #current = 0;
  #closed = false;

  constructor(addresses: readonly string[], runtime: Runtime, dial: Dial) {
    this.#named = [...new Set(addresses)];
    this.#addresses = this.#named;
    this.#runtime = runtime;
    this.#dial = dial;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /**
   * Takes a list of the members; an older one than the last is late and changes nothing. The addresses that the caller
   * named stay, behind the members: they may be all that is left after a long time of silence.
   */
  learn(list: MemberList | undefined): void {
    if (list === undefined || list.version < this.#version) return;
    this.#version = list.version;
    const present = this.#address();
    const told = list.members.map((m) => m.address).filter((address) => address !== '');
    this.#addresses = [...new Set([...told, ...this.#named])].slice(0, placementMembersMax);
    // It goes on with the member that answers, if it still is one.
    this.#current = Math.max(0, this.#addresses.indexOf(present));
    for (const [address, channel] of this.#channels) {
      if (this.#addresses.includes(address)) continue;
      this.#channels.delete(address);
      channel.close();
    }
  }

  /**
   * One call, at one member after the other until one answers.
   * @throws SkerryError the typed error, PLACEMENT_UNAVAILABLE at the deadline, or UNDETERMINED when a call that must
   *   not be repeated broke off.
   */
  async call<Request, Reply extends TypedReply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    limits: CallLimits,
  ): Promise<Reply> {
    const reasons = new Map<string, string>();
    for (let failures = 0; !this.#closed; failures++) {
      const remainingMs = limits.deadlineMs - this.#runtime.nowMs();
      if (remainingMs <= 0) break;
      const address = this.#address();
      const timeoutMs = Math.min(remainingMs, limits.attemptMs ?? placementCallTimeoutMs);
      const outcome = await this.#attempt(address, method, request, timeoutMs);
      if (outcome.reply !== null && outcome.reply.error === undefined) return outcome.reply;
      if (outcome.reply?.error !== undefined) {
        const error = outcome.reply.error;
        const { action } = retryTable[failureKindOf(error)];
        if (action !== 'rotate' && action !== 'backOff') throw skerryErrorOf(error);
        reasons.set(address, error.message);
      } else {
        reasons.set(address, outcome.reason);
        if (outcome.written && !limits.repeatable) throw brokenOff(address, method.path, outcome.reason);
      }
      this.#current++;
      const roundIsOver = (failures + 1) % this.#addresses.length === 0;
      if (roundIsOver) await sleep(this.#runtime, backoffMs(failures, this.#runtime.random()));
    }
    if (this.#closed) throw new SkerryError('CLIENT_CLOSED', 'the client was closed');
    throw unavailable(this.#addresses, reasons);
  }

  async #attempt<Request, Reply>(
    address: string,
    method: RpcMethod<Request, Reply>,
    request: Request,
    timeoutMs: number,
  ): Promise<{ reply: Reply; reason: ''; written: true } | { reply: null; reason: string; written: boolean }> {
    const channel = this.#channel(address);
    const unreachable = await channel.connected(timeoutMs);
    if (unreachable !== null) return { reply: null, reason: unreachable, written: false };
    try {
      const reply = await channel.unary(method, request, { timeoutMs });
      return { reply, reason: '', written: true };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return { reply: null, reason: reasonOf(error), written: true };
    }
  }

  /** Opens a stream of replies at the present member. The caller calls rotate() when it ends badly. */
  async stream<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    handlers: StreamHandlers<Reply>,
  ): Promise<RpcStream<never> | null> {
    if (this.#isClosed()) return null;
    const channel = this.#channel(this.#address());
    if ((await channel.connected(connectTimeoutMs)) !== null || this.#isClosed()) return null;
    return channel.serverStream(method, request, handlers);
  }

  /** The present member is of no use: the next call goes to another. */
  rotate(): void {
    this.#current++;
  }

  // A method of its own, because close() may have been called during an await.
  #isClosed(): boolean {
    return this.#closed;
  }

  #address(): string {
    return this.#addresses[this.#current % this.#addresses.length] ?? '';
  }

  #channel(address: string): RpcChannel {
    let channel = this.#channels.get(address);
    if (channel === undefined) {
      channel = this.#dial(address);
      this.#channels.set(address, channel);
    }
    return channel;
  }

  close(): void {
    this.#closed = true;
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}

function reasonOf(error: RpcError): string {
  return error.failure === 'unimplemented' ? 'it is not a Skerry placement member' : error.message;
}

function brokenOff(address: string, path: string, reason: string): SkerryError {
  const call = path.slice(path.lastIndexOf('/') + 1);
  return new SkerryError(
    'UNDETERMINED',
    `${call} broke off at ${address} (${reason}) and may have taken effect; look before repeating it`,
  );
}

function unavailable(addresses: readonly string[], reasons: ReadonlyMap<string, string>): SkerryError {
  const tried = addresses.map((a) => `${a} (${reasons.get(a) ?? 'not reached in time'})`).join(', ');
  return new SkerryError(
    'PLACEMENT_UNAVAILABLE',
    `no placement member answered: ${tried}; are they running, and are these their addresses?`,
    { retryable: true },
  );
}
