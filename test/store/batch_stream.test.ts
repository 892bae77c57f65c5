import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { Runtime } from '../../src/base/runtime.js';
import { clusterMismatch, storeNotMatch } from '../../src/base/wire_errors.js';
import type { WireOp, WireResult } from '../../src/wire/kv_codec.js';
import {
  decodeBatchResponse,
  decodeErrorResult,
  encodeBatchRequest,
  encodeExistsResult,
  encodeValueResult,
  OpKind,
  ResultKind,
} from '../../src/wire/kv_codec.js';
import type { Load } from '../../store/admission.js';
import { BatchStream } from '../../store/batch_stream.js';
import type { Reply } from '../../store/kv_call.js';
import type { KvService } from '../../store/kv_service.js';
import { replyBytesMax, replyResultsMax, streamReplyBytesMax } from '../../store/limits.js';

/** A service that keeps what it is given, and a connection that can push back. */
class Harness {
  readonly pending: { readonly op: WireOp; readonly load: Load | null; readonly reply: Reply }[] = [];
  readonly frames: WireResult[][] = [];
  readonly events: string[] = [];
  writable = true;
  flushes = 0;
  readonly stream: BatchStream;
  private turns: (() => void)[] = [];

  constructor() {
    const service: Pick<KvService, 'checkTarget' | 'execute' | 'flush'> = {
      checkTarget: (clusterId, storeId) => {
        if (clusterId !== 7) return clusterMismatch(clusterId, 7);
        return storeId === 0 || storeId === 1 ? null : storeNotMatch(storeId, 1);
      },
      execute: (op, load, reply) => {
        load?.add(1);
        this.pending.push({ op, load, reply });
      },
      flush: () => {
        this.flushes++;
      },
    };
    const runtime: Pick<Runtime, 'nextTurn'> = { nextTurn: (fn) => void this.turns.push(fn) };
    this.stream = new BatchStream(service, runtime, {
      write: (frame) => {
        this.frames.push(decodeBatchResponse(frame));
        return this.writable;
      },
      pause: () => void this.events.push('pause'),
      resume: () => void this.events.push('resume'),
      end: (problem) => void this.events.push(`end ${problem ?? ''}`.trim()),
    });
  }

  send(ids: readonly number[], clusterId = 7, storeId = 1): void {
    const ops = ids.map((id) => ({ ...emptyOp, id }));
    this.stream.frame(encodeBatchRequest(clusterId, storeId, ops));
  }

  answer(count: number, body = encodeExistsResult(true), kind: ResultKind = ResultKind.exists): void {
    for (const { load, reply } of this.pending.splice(0, count)) {
      load?.remove(1);
      reply(kind, body);
    }
  }

  turn(): void {
    const due = this.turns;
    this.turns = [];
    for (const fn of due) fn();
  }
}

const emptyOp: WireOp = {
  id: 0,
  shardId: 1,
  confVer: 0,
  version: 0,
  timeoutMs: 0,
  consistency: 0,
  allowForward: false,
  kind: OpKind.exists,
  body: Buffer.from('k'),
};

t.test('results of one turn leave in one frame', async (t) => {
  const harness = new Harness();
  harness.send([1, 2, 3]);
  t.equal(harness.flushes, 1, 'a frame ends with one flush');
  harness.answer(2);
  t.same(harness.frames, [], 'nothing leaves within the turn');
  harness.answer(1);
  harness.turn();
  t.same(
    harness.frames.map((frame) => frame.map((r) => r.id)),
    [[1, 2, 3]],
  );
});

t.test('a frame for another cluster or store is refused operation by operation', async (t) => {
  const harness = new Harness();
  harness.send([1, 2], 8);
  harness.send([3], 7, 2);
  harness.turn();
  const cases = harness.frames.flat().map((r) => decodeErrorResult(r.body).detail?.$case);
  t.same(cases, ['clusterMismatch', 'clusterMismatch', 'storeNotMatch']);
});

t.test('an operation without a shard is refused', async (t) => {
  const harness = new Harness();
  harness.stream.frame(encodeBatchRequest(7, 1, [{ ...emptyOp, id: 4, shardId: 0 }]));
  harness.turn();
  t.match(decodeErrorResult(must(harness.frames[0]?.[0], 'a result').body).detail, { $case: 'invalidArgument' });
});

t.test('a connection that pushes back gets nothing more until it drains, then everything', async (t) => {
  const harness = new Harness();
  harness.send([1, 2, 3]);
  harness.writable = false;
  harness.answer(1);
  harness.turn();
  harness.answer(2);
  harness.turn();
  t.equal(harness.frames.length, 1);
  harness.writable = true;
  harness.stream.drained();
  t.same(
    harness.frames.map((frame) => frame.map((r) => r.id)),
    [[1], [2, 3]],
  );
});

t.test('more results than a frame holds leave in several', async (t) => {
  const harness = new Harness();
  harness.send(Array.from({ length: replyResultsMax + 5 }, (_, id) => id + 1));
  harness.answer(replyResultsMax + 5);
  harness.turn();
  t.same(
    harness.frames.map((frame) => frame.length),
    [replyResultsMax, 5],
  );
});

t.test('more bytes than a frame holds leave in several, and one large result in its own', async (t) => {
  const harness = new Harness();
  harness.send([1, 2, 3]);
  harness.answer(3, encodeValueResult(Buffer.alloc(replyBytesMax)), ResultKind.get);
  harness.turn();
  t.same(
    harness.frames.map((frame) => frame.map((r) => r.id)),
    [[1], [2], [3]],
  );
});

t.test('a client that does not read is not read from, until it does again', async (t) => {
  const harness = new Harness();
  const count = Math.ceil(streamReplyBytesMax / replyBytesMax) + 2;
  harness.send(Array.from({ length: count }, (_, id) => id + 1));
  harness.writable = false;
  harness.answer(1);
  harness.turn();
  harness.answer(count, encodeValueResult(Buffer.alloc(replyBytesMax)), ResultKind.get);
  harness.turn();
  t.same(harness.events, ['pause']);
  harness.writable = true;
  harness.stream.drained();
  t.same(harness.events, ['pause', 'resume']);
});

t.test('a malformed frame ends the stream and says why', async (t) => {
  const harness = new Harness();
  harness.stream.frame(Buffer.from([0xff, 0xff]));
  t.match(harness.events[0], /^end malformed frame: /);
  harness.send([1]);
  t.same(harness.pending, [], 'nothing is taken after it');
});

t.test('a client that has sent everything still gets its answers, then the end', async (t) => {
  const harness = new Harness();
  harness.send([1]);
  harness.stream.clientEnded();
  t.same(harness.events, []);
  harness.answer(1);
  harness.turn();
  t.equal(harness.frames.length, 1);
  t.same(harness.events, ['end']);
});

t.test('answers to a client that is gone are dropped', async (t) => {
  const harness = new Harness();
  harness.send([1]);
  harness.stream.close();
  harness.answer(1);
  harness.turn();
  t.same(harness.frames, []);
});
