import type { Runtime } from '../base/runtime.js';
import { decodeBatchResponse, encodeBatchRequest, WireError } from '../wire/kv_codec.js';
import { KvService } from '../gen/skerry/v1/kv.js';
import type { RpcStream, StreamChannel } from '../rpc/channel.js';
import { batchBytesTarget, batchOpsMax, connectTimeoutMs } from './limits.js';
import type { Operation } from './operation.js';
import { OutstandingOperations } from './outstanding.js';
import type { Router } from './router.js';

/**
 * The one Batch stream to one store. Operations gather during a turn of the event loop and leave together at its end,
 * in frames of bounded size, as long as the stream takes more. Answers come in any order.
 *
 *   idle ─▶ connecting ─▶ open ─▶ (lost) ─▶ idle        closed: for good
 *
 * When the stream is lost, operations whose bytes were given to it may have taken effect; those still gathered
 * surely have not. The router decides what becomes of either.
 */
export interface StoreConnectionStats {
  frames: number;
  operations: number;
  bytes: number;
}

const passThrough = (bytes: Buffer): Buffer => bytes;
/** Frames are encoded and decoded here: the channel passes their bytes. */
const batchMethod = { path: KvService.batch.path, requestSerialize: passThrough, responseDeserialize: passThrough };

type State = 'idle' | 'connecting' | 'open' | 'closed';

export interface StoreTarget {
  readonly clusterId: number;
  readonly storeId: number;
  readonly address: string;
}

export class StoreConnection {
  readonly storeId: number;
  readonly address: string;
  readonly stats: StoreConnectionStats = { frames: 0, operations: 0, bytes: 0 };
  readonly #clusterId: number;
  readonly #runtime: Runtime;
  readonly #router: Router;
  readonly #channel: StreamChannel;
  #state: State = 'idle';
  #stream: RpcStream<Buffer> | null = null;
  /** Handed over and not written yet, in order. */
  #gathered: Operation[] = [];
  #flushPlanned = false;
  /** False from a write() that pushed back until 'drain'. */
  #writable = true;
  readonly #outstanding = new OutstandingOperations();

  constructor(target: StoreTarget, channel: StreamChannel, runtime: Runtime, router: Router) {
    this.storeId = target.storeId;
    this.address = target.address;
    this.#clusterId = target.clusterId;
    this.#runtime = runtime;
    this.#router = router;
    this.#channel = channel;
  }

  send(operation: Operation): void {
    this.#gathered.push(operation);
    this.#planFlush();
  }

  /** Its answer is not wanted any more. */
  withdraw(operation: Operation): void {
    this.#outstanding.take(operation.id);
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    this.#runtime.nextTurn(() => {
      this.#flushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    switch (this.#state) {
      case 'idle':
        void this.#connect();
        return;
      case 'connecting':
        return;
      case 'closed':
        this.#failAll('the connection was closed');
        return;
      case 'open':
        while (this.#writable && this.#gathered.length > 0) this.#writeFrame();
    }
  }

  #writeFrame(): void {
    const stream = this.#stream;
    if (stream === null) return;
    const nowMs = this.#runtime.nowMs();
    const batch: Operation[] = [];
    let bytes = 0;
    let taken = 0;
    const gathered = this.#gathered;
    while (taken < gathered.length && batch.length < batchOpsMax && bytes < batchBytesTarget) {
      const operation = gathered[taken++];
      if (operation === undefined || operation.storeId !== this.storeId) continue;
      if (!this.#router.prepare(operation, this.#outstanding.nextId, nowMs)) continue;
      this.#outstanding.put(operation);
      batch.push(operation);
      bytes += operation.body.length;
    }
    // prepare() may have handed over more in the meantime.
    this.#gathered = taken === this.#gathered.length ? [] : this.#gathered.slice(taken);
    if (batch.length === 0) return;
    const frame = encodeBatchRequest(this.#clusterId, this.storeId, batch);
    this.stats.frames++;
    this.stats.operations += batch.length;
    this.stats.bytes += frame.length;
    this.#writable = stream.write(frame);
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    const failure = await this.#channel.connected(connectTimeoutMs);
    if (this.#isClosed()) return;
    if (failure !== null) {
      this.#state = 'idle';
      this.#router.storeLost(this.storeId);
      this.#failAll(`store ${this.storeId}: ${failure}`);
      return;
    }
    this.#open();
    this.#flush();
  }

  // A method of its own, because the state may have changed during an await.
  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #open(): void {
    const stream = this.#channel.duplex<Buffer, Buffer>(batchMethod, {
      frame: (frame) => this.#received(stream, frame),
      drained: () => {
        if (this.#stream !== stream) return;
        this.#writable = true;
        this.#flush();
      },
      closed: (reason) => this.#lost(stream, reason),
    });
    this.#stream = stream;
    this.#state = 'open';
    this.#writable = true;
  }

  #received(stream: RpcStream<Buffer>, frame: Buffer): void {
    if (this.#stream !== stream) return;
    let results;
    try {
      results = decodeBatchResponse(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      stream.cancel();
      this.#lost(stream, `malformed answer: ${error.message}`);
      return;
    }
    this.#router.storeReached(this.storeId);
    for (const { id, kind, body } of results) {
      const operation = this.#outstanding.take(id);
      if (operation !== null) this.#router.answered(operation, kind, body);
    }
  }

  #lost(stream: RpcStream<Buffer>, reason: string): void {
    if (this.#stream !== stream) return;
    this.#stream = null;
    if (this.#state === 'closed') return;
    this.#state = 'idle';
    this.#router.storeLost(this.storeId);
    this.#failAll(`connection to store ${this.storeId} lost: ${reason}`);
  }

  #failAll(reason: string): void {
    const written = this.#outstanding.clear();
    const gathered = this.#gathered.splice(0);
    for (const operation of written) this.#router.failed(operation, 'connectionLost', reason);
    for (const operation of gathered) {
      if (operation.storeId === this.storeId && !operation.written) {
        this.#router.failed(operation, 'unreachable', reason);
      }
    }
  }

  /** The store moved to another address, or the client closes: what is outstanding fails as for a lost stream. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const stream = this.#stream;
    this.#stream = null;
    stream?.cancel();
    this.#channel.close();
    this.#failAll(`connection to store ${this.storeId} closed`);
  }
}
