import { assert } from '../src/base/assert.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import { deadlineGrainMs } from './limits.js';

/**
 * Deadlines of many operations with one timer: a wheel of slots, each a linked list of what is due in
 * it. Adding and removing cost the same however many there are; nothing is kept of what was removed. The timer runs only
 * while something is waiting.
 */
const slotCount = 1_024;

/** What has a deadline: a link of a list. */
export abstract class Due {
  /** Tick of the wheel at which it is due; -1: not in the wheel. */
  dueTick = -1;
  previousDue: Due | null = null;
  nextDue: Due | null = null;

  /** The deadline has passed; it is no longer in the wheel. */
  abstract expire(): void;
}

export class DeadlineWheel {
  private readonly runtime: Runtime;
  private readonly slots: (Due | null)[] = new Array<Due | null>(slotCount).fill(null);
  private readonly startMs: number;
  private tick = 0;
  private count = 0;
  private timer: TimerHandle | null = null;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.startMs = runtime.nowMs();
  }

  get size(): number {
    return this.count;
  }

  /** Not before `delayMs` from now; to within the grain. */
  add(due: Due, delayMs: number): void {
    assert(due.dueTick === -1, 'a deadline is in the wheel once');
    if (this.count === 0) this.tick = this.tickNow();
    due.dueTick = this.tickNow() + Math.max(1, Math.ceil(delayMs / deadlineGrainMs) + 1);
    const slot = due.dueTick % slotCount;
    const head = this.slots[slot] ?? null;
    due.nextDue = head;
    if (head !== null) head.previousDue = due;
    this.slots[slot] = due;
    this.count++;
    this.timer ??= this.runtime.every(deadlineGrainMs, () => this.turn());
  }

  /** Does nothing when it is not in the wheel. */
  remove(due: Due): void {
    if (due.dueTick === -1) return;
    const { previousDue, nextDue } = due;
    if (previousDue === null) this.slots[due.dueTick % slotCount] = nextDue;
    else previousDue.nextDue = nextDue;
    if (nextDue !== null) nextDue.previousDue = previousDue;
    due.previousDue = null;
    due.nextDue = null;
    due.dueTick = -1;
    this.count--;
    if (this.count === 0) this.stop();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private turn(): void {
    const now = this.tickNow();
    // A stalled loop makes up for missed ticks; past one round every slot has been looked at.
    const until = Math.min(now, this.tick + slotCount);
    for (let tick = this.tick + 1; tick <= until; tick++) this.expireSlot(tick % slotCount, now);
    this.tick = now;
  }

  private expireSlot(slot: number, now: number): void {
    let due = this.slots[slot] ?? null;
    while (due !== null) {
      const next: Due | null = due.nextDue;
      if (due.dueTick <= now) {
        this.remove(due);
        due.expire();
      }
      due = next;
    }
  }

  private tickNow(): number {
    return Math.floor((this.runtime.nowMs() - this.startMs) / deadlineGrainMs);
  }
}
