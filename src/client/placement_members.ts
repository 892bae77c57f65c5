import type { Client, ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';
import type { Runtime } from '../base/runtime.js';
import { sleep } from '../base/runtime.js';
import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';
import { backoffMs } from './backoff.js';
import { connected, openChannel } from './channel.js';
import { SkerryError } from './errors.js';
import { placementCallTimeoutMs, placementMembersMax } from './limits.js';
import { failureKindOf, retryTable, skerryErrorOf } from './retry_table.js';

/** A unary method as ts-proto describes it. */
export interface UnaryMethod<Request, Reply> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Reply;
}

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
  readonly #addresses: string[];
  readonly #channels = new Map<string, Client>();
  #current = 0;
  #closed = false;

  constructor(addresses: readonly string[], runtime: Runtime) {
    this.#addresses = [...new Set(addresses)];
    this.#runtime = runtime;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** Adds members that were heard of. The ones that the caller named stay. */
  learn(addresses: readonly string[]): void {
    for (const address of addresses) {
      if (this.#addresses.length >= placementMembersMax) return;
      if (address !== '' && !this.#addresses.includes(address)) this.#addresses.push(address);
    }
  }

  /**
   * One call, at one member after the other until one answers.
   * @throws SkerryError the typed error, PLACEMENT_UNAVAILABLE at the deadline, or UNDETERMINED when a call that must
   *   not be repeated broke off.
   */
  async call<Request, Reply extends TypedReply>(
    method: UnaryMethod<Request, Reply>,
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
    method: UnaryMethod<Request, Reply>,
    request: Request,
    timeoutMs: number,
  ): Promise<{ reply: Reply; reason: ''; written: true } | { reply: null; reason: string; written: boolean }> {
    const client = this.#channel(address);
    const unreachable = await connected(client, this.#runtime, timeoutMs);
    if (unreachable !== null) return { reply: null, reason: unreachable, written: false };
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline: this.#runtime.wallMs() + timeoutMs },
        (error: ServiceError | null, reply?: Reply) => {
          if (error === null && reply !== undefined) resolve({ reply, reason: '', written: true });
          else resolve({ reply: null, reason: error === null ? 'an empty reply' : reasonOf(error), written: true });
        },
      );
    });
  }

  /** Opens a stream of replies at the present member. The caller calls rotate() when it ends badly. */
  async stream<Request, Reply>(
    method: UnaryMethod<Request, Reply>,
    request: Request,
  ): Promise<ClientReadableStream<Reply> | null> {
    if (this.#isClosed()) return null;
    const client = this.#channel(this.#address());
    if ((await connected(client, this.#runtime)) !== null || this.#isClosed()) return null;
    return client.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, request);
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

  #channel(address: string): Client {
    let client = this.#channels.get(address);
    if (client === undefined) {
      client = openChannel(address);
      this.#channels.set(address, client);
    }
    return client;
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#channels.values()) client.close();
    this.#channels.clear();
  }
}

function reasonOf(error: ServiceError): string {
  if (error.code === status.UNIMPLEMENTED) return 'it is not a Skerry placement member';
  return `${status[error.code]}: ${error.details}`;
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
