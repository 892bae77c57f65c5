import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';

/** Numbers below 2^53, with those around the steps of the encoding more often. */
export const id: fc.Arbitrary<number> = fc.oneof(
  fc.maxSafeNat(),
  fc.nat({ max: 300 }),
  fc.tuple(fc.nat({ max: 52 }), fc.integer({ min: -1, max: 1 })).map(([bit, off]) => Math.max(0, 2 ** bit + off)),
  fc.constant(Number.MAX_SAFE_INTEGER),
);

export const uint32: fc.Arbitrary<number> = fc.oneof(fc.nat({ max: 300 }), fc.integer({ min: 0, max: 0xffff_ffff }));

export const flag: fc.Arbitrary<boolean> = fc.boolean();

export const bytes: fc.Arbitrary<Buffer> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
  fc.integer({ min: 120, max: 300 }).map((length) => Buffer.alloc(length, length)),
);

/** Fails with both in hexadecimal unless they are equal. */
export function same(ours: Uint8Array, theirs: Uint8Array): void {
  const [a, b] = [Buffer.from(ours), Buffer.from(theirs)];
  if (!a.equals(b)) throw new Error(`encodings differ:\n  ours   ${a.toString('hex')}\n  theirs ${b.toString('hex')}`);
}

/** fc.record with plain objects. */
export function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

/** Fails unless both are deeply equal. For properties, which check too often to report every check. */
export function alike(actual: unknown, expected: unknown): void {
  deepStrictEqual(actual, expected);
}
