import { assert, must } from '../../src/base/assert.js';

/*
 * What clients asked of a key-value store, when, and what they were told. A key holds a string or nothing (null).
 *
 * Times are whatever the recorder counts: event numbers, virtual or real milliseconds; ties are allowed. Operation A precedes
 * operation B, and must take effect before it, if and only if A.returnAt < B.invokeAt (Herlihy and Wing 1990, section 2.3).
 * Operations that failed for sure are left out of a history. One whose fate was never learned has returnAt null: it may
 * take effect at any time after its invocation, once, or never.
 */

/** What was asked. A swap replaces `expected` by `value` if it is what is there; null stands for "no value" on either side. */
export type Call =
  | { readonly kind: 'get' }
  | { readonly kind: 'exists' }
  | { readonly kind: 'set'; readonly value: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'swap'; readonly expected: string | null; readonly value: string | null };

/** What was answered. `current` is what a swap that was not applied found; it says nothing if the swap was applied. */
export type Answer =
  | { readonly kind: 'get'; readonly value: string | null }
  | { readonly kind: 'exists'; readonly exists: boolean }
  | { readonly kind: 'set' }
  | { readonly kind: 'delete' }
  | { readonly kind: 'swap'; readonly applied: boolean; readonly current: string | null };

export interface Operation {
  /** Unique in its history. */
  readonly id: number;
  readonly client: number;
  readonly key: string;
  readonly call: Call;
  /** Null if and only if returnAt is; of the call's kind. */
  readonly answer: Answer | null;
  readonly invokeAt: number;
  readonly returnAt: number | null;
}

export type Verdict =
  | { readonly kind: 'ok' }
  | { readonly kind: 'violation'; readonly key: string; readonly detail: string }
  /** Not decided within the limits. Never a pass. */
  | { readonly kind: 'unknown'; readonly key: string; readonly reason: string };

/** Collects a history. */
export class HistoryRecorder {
  private readonly operations = new Map<number, Operation>();
  private lastId = 0;

  /** Notes an invocation; the id that it returns names it from then on. Until `end`, its fate counts as unknown. */
  begin(client: number, key: string, call: Call, atTime: number): number {
    const id = ++this.lastId;
    this.operations.set(id, { id, client, key, call, answer: null, invokeAt: atTime, returnAt: null });
    return id;
  }

  /** Notes the answer of an operation. */
  end(id: number, answer: Answer, atTime: number): void {
    const operation = must(this.operations.get(id), `operation ${id}`);
    assert(operation.answer === null, () => `operation ${id} was answered twice`);
    this.operations.set(id, { ...operation, answer, returnAt: atTime });
  }

  /** Leaves out an operation that certainly had and will have no effect. */
  leaveOut(id: number): void {
    assert(this.operations.delete(id), () => `operation ${id} is unknown`);
  }

  history(): readonly Operation[] {
    return [...this.operations.values()];
  }
}

/** The operations of each key, in order of invocation. Throws AssertionError for a history that contradicts itself. */
export function operationsByKey(history: readonly Operation[]): ReadonlyMap<string, readonly Operation[]> {
  const ids = new Set<number>();
  const byKey = new Map<string, Operation[]>();
  for (const operation of history) {
    checkShape(operation);
    assert(!ids.has(operation.id), () => `two operations have the id ${operation.id}`);
    ids.add(operation.id);
    const operations = byKey.get(operation.key);
    if (operations === undefined) byKey.set(operation.key, [operation]);
    else operations.push(operation);
  }
  for (const operations of byKey.values()) operations.sort((a, b) => a.invokeAt - b.invokeAt || a.id - b.id);
  return byKey;
}

function checkShape(operation: Operation): void {
  const { id, call, answer, invokeAt, returnAt } = operation;
  assert(
    (answer === null) === (returnAt === null),
    () => `operation ${id} has an answer or a time of return, not both`,
  );
  assert(answer === null || answer.kind === call.kind, () => `operation ${id} has the answer of another kind`);
  assert(returnAt === null || returnAt >= invokeAt, () => `operation ${id} returned before it was invoked`);
}

/** One line: id, client, time and content. */
export function describeOperation({ id, client, call, answer, invokeAt, returnAt }: Operation): string {
  return `#${id} client ${client} [${invokeAt}, ${returnAt ?? '?'}] ${describeCall(call)}${describeAnswer(answer)}`;
}

function describeCall(call: Call): string {
  switch (call.kind) {
    case 'set':
      return `set ${describeValue(call.value)}`;
    case 'swap':
      return `swap ${describeValue(call.expected)} for ${describeValue(call.value)}`;
    case 'get':
    case 'exists':
    case 'delete':
      return call.kind;
  }
}

function describeAnswer(answer: Answer | null): string {
  if (answer === null) return ' (no answer)';
  switch (answer.kind) {
    case 'get':
      return ` = ${describeValue(answer.value)}`;
    case 'exists':
      return ` = ${answer.exists}`;
    case 'swap':
      return answer.applied ? ' applied' : ` refused, found ${describeValue(answer.current)}`;
    case 'set':
    case 'delete':
      return '';
  }
}

export function describeValue(value: string | null): string {
  return value === null ? 'nothing' : JSON.stringify(value);
}
