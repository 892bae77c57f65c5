import type { Test } from 'tap';
import type { Engine, ScanOptions, ScanPage } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/engine_error.js';

/** An engine under test. */
export interface Fixture {
  engine: Engine;
  /** Closes the engine and opens what it left. */
  reopen(): Promise<Engine>;
  /** The test is through; `closed`: it has closed the engine itself. All of its views are closed. */
  dispose(closed: boolean): Promise<void>;
}

export type Define = (name: string, body: (test: Test, fixture: Fixture) => Promise<void>) => void;

export const none = Buffer.alloc(0);
export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

export function all(overrides: Partial<ScanOptions> = {}): ScanOptions {
  const whole = { start: none, end: none, limit: 1_000_000, maxBytes: 1 << 30, reverse: false, keysOnly: false };
  return { ...whole, ...overrides };
}

export const keysOf = (page: ScanPage): string[] => page.rows.map((row) => row.key.toString('latin1'));

export async function put(engine: Engine, rows: Record<string, string>): Promise<void> {
  const batch = engine.newBatch();
  for (const [key, value] of Object.entries(rows)) batch.put(bytes(key), bytes(value));
  await engine.write(batch);
}

export async function get(engine: Pick<Engine, 'getMany'>, ...keys: string[]): Promise<(string | null)[]> {
  const values = await engine.getMany(keys.map(bytes));
  return values.map((value) => value?.toString('latin1') ?? null);
}

export async function rejectsWith(test: Test, promise: Promise<unknown>, code: string): Promise<void> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  test.ok(error instanceof EngineError, 'rejects with an EngineError');
  test.equal(error instanceof EngineError ? error.code : String(error), code);
}
