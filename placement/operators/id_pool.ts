import { idPoolLowWater, idPoolSize } from '../limits.js';

/** Cluster-unique ids that the leader holds in hand. Those left over when it stops leading are lost, which costs nothing. */
export class IdPool {
  private next = 0;
  private end = 0;
  private refilling = false;
  private readonly refill: (count: number) => void;

  /** refill: asks the state for ids; answer by give() or giveUp(). */
  constructor(refill: (count: number) => void) {
    this.refill = refill;
  }

  get available(): number {
    return this.end - this.next;
  }

  /** Asks for more when few are left. */
  top(): void {
    if (this.refilling || this.available >= idPoolLowWater) return;
    this.refilling = true;
    this.refill(idPoolSize);
  }

  give(firstId: number, count: number): void {
    this.refilling = false;
    this.next = firstId;
    this.end = firstId + count;
  }

  giveUp(): void {
    this.refilling = false;
  }

  /** `count` ids, or null when there are not enough right now. */
  take(count: number): number[] | null {
    if (this.available < count) {
      this.top();
      return null;
    }
    const ids = Array.from({ length: count }, (_, i) => this.next + i);
    this.next += count;
    this.top();
    return ids;
  }
}
