import { must } from '../base/assert.js';
import { commandBytesMax, commandOpsMax } from '../base/limits.js';
import type { Mutation, Row, WriteResult } from '../wire/kv_codec.js';
import type { ClientCore } from './client_core.js';
import { SkerryError } from './errors.js';
import type { Operation } from './operation.js';
import { BatchGetOperation, WriteOperation } from './operation.js';

/**
 * Operations on many keys. One command or key list goes to one shard; the router says when the keys lie in several, and then
 * each shard's part goes its own way and the results are put together here.
 */
export interface BatchContext {
  readonly core: ClientCore;
  readonly consistency: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
}

/** One key of a batched read, or one mutation. */
export interface BatchItem<T> {
  readonly encodedKey: Buffer;
  readonly bytes: number;
  readonly content: T;
}

/** Items in runs that each fit one command. */
export function* chunksOf<T>(items: readonly BatchItem<T>[]): Generator<BatchItem<T>[]> {
  let chunk: BatchItem<T>[] = [];
  let bytes = 0;
  for (const item of items) {
    if (chunk.length >= commandOpsMax || (chunk.length > 0 && bytes + item.bytes > commandBytesMax)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += item.bytes;
  }
  if (chunk.length > 0) yield chunk;
}

interface Started<R> {
  readonly operation: Operation;
  readonly result: Promise<R>;
}

type Start<T, R> = (context: BatchContext, items: readonly BatchItem<T>[]) => Started<R>;

/** Makes an operation that starts again as one part for each shard when it has to be divided. */
function divisible<T, R>(
  context: BatchContext,
  items: readonly BatchItem<T>[],
  create: (resolve: (result: R) => void, reject: (error: SkerryError) => void) => Operation,
  part: Start<T, R> | null,
  combine: (outcomes: PromiseSettledResult<R>[]) => R,
): Started<R> {
  let made: Operation | null = null;
  const result = new Promise<R>((resolve, reject) => {
    const operation = create(resolve, reject);
    made = operation;
    if (part === null) return;
    operation.divide = (groups) => {
      const parts = groups.map((group) =>
        part(
          context,
          group.map((i) => must(items[i], 'an item for each key')),
        ),
      );
      Promise.allSettled(parts.map((p) => p.result))
        .then(combine)
        .then(resolve, reject);
      for (const { operation: one } of parts) {
        if (context.signal !== undefined) context.core.followSignal(one, context.signal);
      }
      return parts.map((p) => p.operation);
    };
  });
  return { operation: must<Operation>(made, 'the promise has made its operation'), result };
}

function startRead(context: BatchContext, items: readonly BatchItem<Buffer>[]): Started<readonly Row[]> {
  const [first, ...more] = items;
  const create = (resolve: (rows: readonly Row[]) => void, reject: (error: SkerryError) => void): Operation =>
    new BatchGetOperation(
      {
        key: must(first, 'a batch has an item').encodedKey,
        consistency: context.consistency,
        deadlineMs: context.deadlineMs,
        bytes: items.reduce((sum, i) => sum + i.bytes, 0),
        reject,
      },
      more.map((i) => i.encodedKey),
      items.map((i) => i.content),
      resolve,
    );
  return divisible(context, items, create, startRead, combineReads);
}

function combineReads(outcomes: PromiseSettledResult<readonly Row[]>[]): readonly Row[] {
  return outcomes.flatMap((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

function startWrite(
  context: BatchContext,
  items: readonly BatchItem<Mutation>[],
  atomic = false,
): Started<WriteResult> {
  const [first, ...more] = items;
  const create = (resolve: (result: WriteResult) => void, reject: (error: SkerryError) => void): Operation =>
    new WriteOperation(
      {
        key: must(first, 'a batch has an item').encodedKey,
        consistency: context.consistency,
        deadlineMs: context.deadlineMs,
        bytes: items.reduce((sum, i) => sum + i.bytes, 0),
        reject,
      },
      more.map((i) => i.encodedKey),
      items.map((i) => i.content),
      resolve,
    );
  return divisible(context, items, create, atomic ? null : startWrite, combineWrites);
}

/** All parts took effect, or an error that never claims more certainty than there is. */
function combineWrites(outcomes: PromiseSettledResult<WriteResult>[]): WriteResult {
  const reasons = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : []));
  if (reasons.length === 0) return { applied: true, current: null };
  const worst = reasons.find((r) => r instanceof SkerryError && r.code === 'UNDETERMINED') ?? reasons[0];
  if (reasons.length === outcomes.length) throw worst;
  const applied = outcomes.length - reasons.length;
  throw new SkerryError('UNDETERMINED', `${applied} of ${outcomes.length} shards took their part of the batch`, {
    cause: worst,
    details: { partsApplied: applied, parts: outcomes.length },
  });
}

export async function batchGet(context: BatchContext, items: readonly BatchItem<Buffer>[]): Promise<readonly Row[]> {
  const parts = [...chunksOf(items)].map((chunk) => startRead(context, chunk));
  for (const { operation } of parts) context.core.submit(operation, context.signal);
  return combineReads(await Promise.allSettled(parts.map((p) => p.result)));
}

export async function batchWrite(
  context: BatchContext,
  items: readonly BatchItem<Mutation>[],
  atomic: boolean,
): Promise<WriteResult> {
  if (atomic) {
    const { operation, result } = startWrite(context, items, true);
    context.core.submit(operation, context.signal);
    return result;
  }
  const parts = [...chunksOf(items)].map((chunk) => startWrite(context, chunk));
  for (const { operation } of parts) context.core.submit(operation, context.signal);
  return combineWrites(await Promise.allSettled(parts.map((p) => p.result)));
}
