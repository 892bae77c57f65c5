import type { TypedError } from '../src/base/wire_errors.js';
import { undetermined } from '../src/base/wire_errors.js';
import { ForwardError } from '../src/multiraft/forwarding.js';
import { decodeResult, encodeOp, OpKind } from '../src/wire/kv_codec.js';
import type { KvCall } from './kv_call.js';

/**
 * Passes operations on to the leader's store, once. The answer comes back as it is; when the connection breaks, a
 * write may have been proposed there, a read is simply refused with the leader's name.
 */
export class Forwarder {
  private readonly send: (storeId: number, payload: Buffer, timeoutMs: number) => Promise<Buffer>;

  constructor(send: (storeId: number, payload: Buffer, timeoutMs: number) => Promise<Buffer>) {
    this.send = send;
  }

  /** refusal: what the caller gets when the operation certainly had no effect. */
  forward(call: KvCall, storeId: number, timeoutMs: number, refusal: TypedError): void {
    const { op } = call;
    call.proposed = true;
    this.send(storeId, encodeOp({ ...op, allowForward: false, timeoutMs }), timeoutMs)
      .then((payload) => decodeResult(payload))
      .then(
        ({ kind, body }) => call.settle(kind, body),
        (error: unknown) => {
          const unsent = error instanceof ForwardError && (error.reason === 'busy' || error.reason === 'notConnected');
          // Otherwise the connection broke, or the answer is malformed: the outcome there is not known here.
          call.fail(op.kind === OpKind.write && !unsent ? undetermined(op.shardId, storeId) : refusal);
        },
      );
  }
}
