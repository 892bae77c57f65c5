import type { DelayWindow } from '../base/delay_window.js';

/** What an Admission counts. */
export interface Admitted {
  /** Key and value bytes. */
  readonly bytes: number;
  /** True while it counts as in flight; the admission's own business. */
  admitted: boolean;
  /** True while it is in flight but with no store: it rests before another attempt, or its route is looked up. Also the admission's. */
  apart: boolean;
  /** True once it is over, however it ended. */
  readonly done: boolean;
}

/**
 * Bounds what a client has in flight, in operations (by a window that follows their time) and in bytes. What finds no room waits in order, up to a limit;
 * past that it is refused. One operation larger than all room is let in when it is alone.
 *
 * The window is about stores, so it counts what a store has to answer. What stands apart (it waits for a leader or for its route) would
 * otherwise keep operations on sound shards waiting; it leaves the window to them and is bounded by the largest window there may be.
 */
export class Admission<T extends Admitted> {
  readonly #window: DelayWindow;
  readonly #bytesMax: number;
  readonly #waitingMax: number;
  #bytes = 0;
  #apart = 0;
  #queue: T[] = [];
  #head = 0;
  #waiting = 0;

  constructor(window: DelayWindow, bytesMax: number, waitingMax: number) {
    this.#window = window;
    this.#bytesMax = bytesMax;
    this.#waitingMax = waitingMax;
  }

  get inFlight(): number {
    return this.#window.ops + this.#apart;
  }

  get inFlightBytes(): number {
    return this.#bytes;
  }

  get waiting(): number {
    return this.#waiting;
  }

  enter(item: T): 'admitted' | 'waiting' | 'refused' {
    if (this.#waiting === 0 && this.#hasRoom(item)) {
      this.add(item);
      return 'admitted';
    }
    if (this.#waiting >= this.#waitingMax) return 'refused';
    this.#queue.push(item);
    this.#waiting++;
    return 'waiting';
  }

  /** Counts an item whatever room there is: a part of one that was admitted. */
  add(item: T): void {
    item.admitted = true;
    this.#window.enter();
    this.#bytes += item.bytes;
  }

  /** No store has it for now. */
  stepAside(item: T): void {
    if (!item.admitted || item.apart) return;
    item.apart = true;
    this.#apart++;
    this.#window.leave();
  }

  /** It goes to a store again, whatever room there is. */
  stepBack(item: T): void {
    if (!item.apart) return;
    item.apart = false;
    this.#apart--;
    this.#window.enter();
  }

  /** To be called once for each item that entered, when it is over. */
  leave(item: T): void {
    if (item.admitted) {
      item.admitted = false;
      if (item.apart) this.#apart--;
      else this.#window.leave();
      item.apart = false;
      this.#bytes -= item.bytes;
    } else {
      // It stays in the queue, marked done, until its turn comes.
      this.#waiting--;
    }
  }

  /** The next waiting item for which there is room now; it is admitted. null: none. */
  next(): T | null {
    for (;;) {
      const item = this.#queue[this.#head];
      if (item === undefined) return null;
      if (!item.done && !this.#hasRoom(item)) return null;
      this.#head++;
      if (this.#head >= 1_024 && this.#head * 2 >= this.#queue.length) {
        this.#queue = this.#queue.slice(this.#head);
        this.#head = 0;
      }
      if (item.done) continue;
      this.#waiting--;
      this.add(item);
      return item;
    }
  }

  #hasRoom(item: T): boolean {
    if (this.inFlight === 0) return true;
    return this.#window.hasRoom && this.inFlight < this.#window.opsLimit && this.#bytes + item.bytes <= this.#bytesMax;
  }
}
