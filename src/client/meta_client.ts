import { nodeRuntime } from '../base/node_runtime.js';
import type { Runtime } from '../base/runtime.js';
import type { MetadataEntry } from '../gen/skerry/v1/metadata.js';
import { MetadataService } from '../gen/skerry/v1/metadata.js';
import type { Dial, RpcMethod } from '../rpc/channel.js';
import { dialGrpc } from '../rpc/grpc_channel.js';
import type { ValueLike } from './arguments.js';
import { timeoutMsOf } from './arguments.js';
import { metadataPageMax, timeoutMsDefault } from './limits.js';
import { placementAddressesOf } from './members.js';
import { PlacementClient } from './placement_client.js';
import type { TypedReply } from './placement_members.js';

export interface MetaOptions {
  readonly placement: readonly string[] | string;
  /** The time of a call; default 10 s. */
  readonly timeoutMs?: number | undefined;
  readonly runtime?: Runtime | undefined;
  /** How members are reached; default: gRPC. For tests. */
  readonly dial?: Dial | undefined;
}

export interface MetaReadOptions {
  /** True: what the asked member has, however old. Default: everything that was acknowledged before the call. */
  readonly stale?: boolean | undefined;
}

export interface MetaWriteOptions {
  /**
   * Write only if the entry still has this version; 0: only if there is none. Otherwise the call rejects with
   * FAILED_PRECONDITION and the reason VERSION_NOT_MATCH.
   */
  readonly ifVersion?: number | undefined;
}

export interface MetaEntry {
  readonly key: string;
  readonly value: Buffer;
  /** Of the write that made it what it is; grows with every write of the table. */
  readonly version: number;
}

/**
 * The metadata table of the placement members: small values for configuration and service discovery. Reads are
 * linearizable by default, at any member. A write that breaks off is not repeated: it rejects with UNDETERMINED.
 */
export class MetaClient {
  readonly #placement: PlacementClient;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;

  private constructor(placement: PlacementClient, runtime: Runtime, timeoutMs: number) {
    this.#placement = placement;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
  }

  /** Finds the cluster. @throws SkerryError PLACEMENT_UNAVAILABLE, FAILED_PRECONDITION (not bootstrapped), INVALID_ARGUMENT */
  static async connect(options: MetaOptions): Promise<MetaClient> {
    const runtime = options.runtime ?? nodeRuntime();
    const timeoutMs = timeoutMsOf(options.timeoutMs ?? timeoutMsDefault);
    const addresses = placementAddressesOf(options.placement);
    const placement = new PlacementClient(addresses, runtime, options.dial ?? dialGrpc(runtime));
    try {
      await placement.findCluster(runtime.nowMs() + timeoutMs);
    } catch (error) {
      placement.close();
      throw error;
    }
    return new MetaClient(placement, runtime, timeoutMs);
  }

  /** Resolves to the entry's new version, once a majority of the members has it on disk. */
  async set(key: string, value: ValueLike, options: MetaWriteOptions = {}): Promise<number> {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    const request = { key, value: bytes, ifVersion: options.ifVersion };
    return (await this.#call(MetadataService.set, request, false)).version;
  }

  async get(key: string, options: MetaReadOptions = {}): Promise<MetaEntry | null> {
    const { entry } = await this.#call(MetadataService.get, { key, stale: options.stale ?? false }, true);
    return entry === undefined ? null : entryOf(entry);
  }

  /** Resolves to whether there was an entry. */
  async delete(key: string, options: MetaWriteOptions = {}): Promise<boolean> {
    return (await this.#call(MetadataService.delete, { key, ifVersion: options.ifVersion }, false)).existed;
  }

  async exists(key: string, options: MetaReadOptions = {}): Promise<boolean> {
    return (await this.#call(MetadataService.exists, { key, stale: options.stale ?? false }, true)).exists;
  }

  /** The entries whose keys begin with the prefix, in order. Each page is one point in time, the whole list is not. */
  async *list(
    prefix = '',
    options: MetaReadOptions & { readonly keysOnly?: boolean | undefined } = {},
  ): AsyncGenerator<MetaEntry, void, undefined> {
    let after = '';
    for (;;) {
      const { stale = false, keysOnly = false } = options;
      const request = { prefix, after, limit: metadataPageMax, keysOnly, stale };
      const { entries, more } = await this.#call(MetadataService.list, request, true);
      yield* entries.map(entryOf);
      const last = entries.at(-1);
      if (!more || last === undefined) return;
      after = last.key;
    }
  }

  #call<Request, Reply extends TypedReply>(
    method: RpcMethod<Request & { clusterId: number }, Reply>,
    request: Request,
    repeatable: boolean,
  ): Promise<Reply> {
    const { clusterId, members } = this.#placement;
    return members.call(
      method,
      { ...request, clusterId },
      { deadlineMs: this.#runtime.nowMs() + this.#timeoutMs, repeatable },
    );
  }

  close(): void {
    this.#placement.close();
  }
}

function entryOf({ key, value, version }: MetadataEntry): MetaEntry {
  return { key, value: Buffer.from(value), version };
}
