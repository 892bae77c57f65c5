import { assert } from '../src/base/assert.js';
import type { TypedError } from '../src/base/wire_errors.js';
import { deadlineExceeded, undetermined } from '../src/base/wire_errors.js';
import type { WireOp } from '../src/wire/kv_codec.js';
import { encodeErrorResult, OpKind, ResultKind } from '../src/wire/kv_codec.js';
import type { Admission, Load } from './admission.js';
import type { DeadlineWheel } from './deadlines.js';
import { Due } from './deadlines.js';

/** Takes the one result of an operation. */
export type Reply = (kind: ResultKind, body: Buffer) => void;

/** Counters of what was answered, for metrics. */
export interface KvCounters {
  writes: number;
  reads: number;
  followerReads: number;
  staleReads: number;
  scans: number;
  forwards: number;
  busy: number;
  expired: number;
}

export function newKvCounters(): KvCounters {
  return { writes: 0, reads: 0, followerReads: 0, staleReads: 0, scans: 0, forwards: 0, busy: 0, expired: 0 };
}

/** What calls share. */
export interface CallContext {
  readonly admission: Admission;
  readonly deadlines: DeadlineWheel;
  readonly counters: KvCounters;
}

/**
 * One operation that was taken in. It is answered exactly once: by its outcome or by its deadline, whichever
 * comes first; what comes later is ignored.
 */
export class KvCall extends Due {
  readonly op: WireOp;
  /** True once a write may take effect whatever happens from here on. */
  proposed = false;
  private readonly context: CallContext;
  private readonly stream: Load | null;
  private reply: Reply | null;

  constructor(context: CallContext, op: WireOp, stream: Load | null, reply: Reply) {
    super();
    this.context = context;
    this.op = op;
    this.stream = stream;
    this.reply = reply;
  }

  get settled(): boolean {
    return this.reply === null;
  }

  settle(kind: ResultKind, body: Buffer): void {
    const { reply } = this;
    if (reply === null) return;
    this.reply = null;
    this.context.deadlines.remove(this);
    this.context.admission.release(this.stream, this.op.shardId, this.op.body.length);
    reply(kind, body);
  }

  fail(error: TypedError): void {
    this.settle(ResultKind.error, encodeErrorResult(error));
  }

  override expire(): void {
    assert(!this.settled, 'a settled call has no deadline');
    this.context.counters.expired++;
    const mayTakeEffect = this.proposed && this.op.kind === OpKind.write;
    this.fail(mayTakeEffect ? undetermined(this.op.shardId, 0) : deadlineExceeded());
  }
}
