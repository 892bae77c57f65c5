import type { SkerryClient } from '../../src/client/index.js';
import { SkerryError } from '../../src/client/index.js';

interface Register {
  readonly key: string;
  /** Largest number that a write was begun with. */
  invoked: number;
  /** Largest number whose write was acknowledged. */
  acked: number;
  /** Largest number that any finished read has seen. */
  seen: number;
}

export interface LoadOptions {
  /** How long a call may take. Default 20 s. */
  readonly timeoutMs?: number;
  /** Rest of each writer and reader between two calls, so that the load leaves a machine time for what is tested. Default 0. */
  readonly pauseMs?: number;
}

export interface LoadReport {
  readonly writes: number;
  readonly reads: number;
  /** Writes that ended as UNDETERMINED, by code. */
  readonly failures: ReadonlyMap<string, number>;
  /** What no linearizable register would have answered. */
  readonly violations: readonly string[];
  /** The longest time in which no write was acknowledged. */
  readonly longestGapMs: number;
}

/**
 * Load whose answers can be judged while it runs. Every register has one writer, which writes 1, 2, 3 ... one
 * after the other, and one reader. A read of a linearizable register that begins after write n was acknowledged, or after
 * another read has seen n, answers at least n, and never more than what was begun (Herlihy and Wing 1990, section 3).
 */
export class RegisterLoad {
  private readonly client: SkerryClient;
  private readonly timeoutMs: number;
  private readonly pauseMs: number;
  private readonly registers: Register[];
  private readonly failures = new Map<string, number>();
  private readonly violations: string[] = [];
  private stopping = false;
  private writes = 0;
  private reads = 0;
  private lastAckAt = performance.now();
  private longestGapMs = 0;
  private gapMs = 0;
  private readonly loops: Promise<void>[] = [];
  private waiters: { target: number; done: () => void }[] = [];

  constructor(client: SkerryClient, prefix: string, count: number, options: LoadOptions = {}) {
    this.client = client;
    this.timeoutMs = options.timeoutMs ?? 20_000;
    this.pauseMs = options.pauseMs ?? 0;
    this.registers = Array.from({ length: count }, (_, i) => ({
      key: `${prefix}/${i}`,
      invoked: 0,
      acked: 0,
      seen: 0,
    }));
  }

  start(): void {
    this.lastAckAt = performance.now();
    for (const register of this.registers) this.loops.push(this.writeLoop(register), this.readLoop(register));
  }

  /** Resolves once `more` further writes were acknowledged. */
  ackedMore(more: number): Promise<void> {
    return new Promise((done) => this.waiters.push({ target: this.writes + more, done }));
  }

  /** Ends the load and reads every register once more. */
  async stop(): Promise<LoadReport> {
    this.stopping = true;
    await Promise.all(this.loops);
    await this.verify(this.client);
    return this.report();
  }

  report(): LoadReport {
    const { writes, reads, failures, violations, longestGapMs } = this;
    return { writes, reads, failures, violations, longestGapMs };
  }

  /** The longest time in which no write was acknowledged since this was asked last. */
  takeGapMs(): number {
    const gapMs = Math.max(this.gapMs, performance.now() - this.lastAckAt);
    this.gapMs = 0;
    return gapMs;
  }

  /** Reads every register through the given client and judges the answers. */
  async verify(client: SkerryClient): Promise<void> {
    for (const register of this.registers) await this.readOnce(register, client);
  }

  private async writeLoop(register: Register): Promise<void> {
    while (!this.stopping) {
      const value = register.invoked + 1;
      register.invoked = value;
      try {
        await this.client.set(register.key, String(value), { timeoutMs: this.timeoutMs });
        register.acked = value;
        this.noteAck();
        await this.rest();
      } catch (error) {
        this.noteFailure(error);
        // Its fate is open: it may still take effect after a later write, so no later write is judged.
        return;
      }
    }
  }

  private async readLoop(register: Register): Promise<void> {
    while (!this.stopping) {
      try {
        await this.readOnce(register, this.client);
        this.reads++;
        await this.rest();
      } catch (error) {
        this.noteFailure(error);
        // Nothing that the client answers from now on is news, and it answers at once.
        if (error instanceof SkerryError && error.code === 'CLIENT_CLOSED') return;
      }
    }
  }

  private async readOnce(register: Register, client: SkerryClient): Promise<void> {
    const atLeast = Math.max(register.acked, register.seen);
    const answer = await client.get(register.key, { timeoutMs: this.timeoutMs });
    const value = answer === null ? 0 : Number(answer.toString());
    if (value < atLeast || value > register.invoked) {
      this.violations.push(`${register.key}: read ${value}, expected ${atLeast} to ${register.invoked}`);
    }
    register.seen = Math.max(register.seen, value);
  }

  private async rest(): Promise<void> {
    if (this.pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, this.pauseMs));
  }

  private noteAck(): void {
    this.writes++;
    const now = performance.now();
    const gapMs = now - this.lastAckAt;
    this.gapMs = Math.max(this.gapMs, gapMs);
    this.longestGapMs = Math.max(this.longestGapMs, gapMs);
    this.lastAckAt = now;
    const due = this.waiters.filter((waiter) => waiter.target <= this.writes);
    if (due.length === 0) return;
    this.waiters = this.waiters.filter((waiter) => waiter.target > this.writes);
    for (const waiter of due) waiter.done();
  }

  private noteFailure(error: unknown): void {
    const code = error instanceof SkerryError ? error.code : `not a SkerryError: ${String(error)}`;
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}
