import type { Runtime } from '../src/base/runtime.js';
import type { WireResult } from '../src/wire/kv_codec.js';
import {
  decodeBatchRequest,
  encodeBatchResponse,
  encodeErrorResult,
  ResultKind,
  WireError,
} from '../src/wire/kv_codec.js';
import { invalidArgument } from '../src/base/wire_errors.js';
import { Load } from './admission.js';
import type { KvService } from './kv_service.js';
import { replyBytesMax, replyResultsMax, resultOverheadBytes, streamReplyBytesMax } from './limits.js';

/** The transport's side of a batch stream: a duplex stream of frames. */
export interface FrameStream {
  /** False: wait for drained() before the next one. */
  write(frame: Buffer): boolean;
  /** Stops and goes on with reading. */
  pause(): void;
  resume(): void;
  /** Ends it after what was written, with a message when it broke the protocol. */
  end(problem: string | null): void;
}

/** What takes the operations. */
export type BatchTarget = Pick<KvService, 'checkTarget' | 'execute' | 'flush'>;

/**
 * One client's batch stream. Results gather during a turn and leave in one frame (more when they pass
 * the bounds of a frame). While the connection takes no more, results wait here; when too many bytes do, nothing more is read from the client.
 */
export class BatchStream {
  private readonly service: BatchTarget;
  private readonly runtime: Pick<Runtime, 'nextTurn'>;
  private readonly stream: FrameStream;
  private readonly load = new Load();
  private results: WireResult[] = [];
  private resultBytes = 0;
  private scheduled = false;
  private blocked = false;
  private paused = false;
  private closed = false;
  private ending = false;

  constructor(service: BatchTarget, runtime: Pick<Runtime, 'nextTurn'>, stream: FrameStream) {
    this.service = service;
    this.runtime = runtime;
    this.stream = stream;
  }

  /** A frame of operations. */
  frame(bytes: Buffer): void {
    if (this.closed) return;
    let request;
    try {
      request = decodeBatchRequest(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.closed = true;
      this.stream.end(`malformed frame: ${error.message}`);
      return;
    }
    const refusal = this.service.checkTarget(request.clusterId, request.storeId);
    for (const op of request.ops) {
      const reply = (kind: ResultKind, body: Buffer): void => this.add({ id: op.id, kind, body });
      if (refusal !== null) reply(ResultKind.error, encodeErrorResult(refusal));
      else if (op.shardId === 0) reply(ResultKind.error, encodeErrorResult(invalidArgument('shard_id', 'MISSING')));
      else this.service.execute(op, this.load, reply);
    }
    this.service.flush();
  }

  /** The connection takes frames again. */
  drained(): void {
    this.blocked = false;
    this.flush();
  }

  /** The client sends no more; it still gets the answers to what it has sent. */
  clientEnded(): void {
    this.ending = true;
    this.maybeEnd();
  }

  /** The client is gone: results that are still to come are dropped. */
  close(): void {
    this.closed = true;
    this.results = [];
    this.resultBytes = 0;
  }

  private add(result: WireResult): void {
    if (this.closed) return;
    this.results.push(result);
    this.resultBytes += sizeOf(result);
    if (!this.paused && this.resultBytes > streamReplyBytesMax) {
      this.paused = true;
      this.stream.pause();
    }
    if (this.scheduled || this.blocked) return;
    this.scheduled = true;
    this.runtime.nextTurn(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    while (this.results.length > 0 && !this.blocked && !this.closed) {
      this.blocked = !this.stream.write(encodeBatchResponse(this.takeFrame()));
    }
    this.maybeEnd();
    if (this.paused && this.resultBytes <= streamReplyBytesMax / 2) {
      this.paused = false;
      this.stream.resume();
    }
  }

  private maybeEnd(): void {
    if (!this.ending || this.closed || this.load.ops > 0 || this.results.length > 0) return;
    this.closed = true;
    this.stream.end(null);
  }

  /** Results of one frame: at least one, and no more than its bounds hold. */
  private takeFrame(): WireResult[] {
    let bytes = 0;
    let count = 0;
    for (const result of this.results) {
      const size = sizeOf(result);
      if (count > 0 && (count >= replyResultsMax || bytes + size > replyBytesMax)) break;
      bytes += size;
      count++;
    }
    this.resultBytes -= bytes;
    return this.results.splice(0, count);
  }
}

/** What a result that waits takes of memory, about. */
function sizeOf({ body }: WireResult): number {
  return body.length + resultOverheadBytes;
}
