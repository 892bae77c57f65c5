import type { DelayWindow } from '../base/delay_window.js';

/** What an Admission counts. */
export interface Admitted {
  /** Key and value bytes. */
  readonly bytes: number;
  /** True while it counts as in flight; the admission's own business. */
  admitted: boolean;
  /** True once it is over, however it ended. */
  readonly done: boolean;
}

/**
 * Bounds what a client has in flight, in operations (by a window that follows their time) and in bytes. What finds no room waits in order, up to a limit;
 * past that it is refused. One operation larger than all room is let in when it is alone.
 */
export class Admission<T extends Admitted> {
  readonly #window: DelayWindow;
  readonly #bytesMax: number;
  readonly #waitingMax: number;
  #bytes = 0;
  #queue: T[] = [];
  #head = 0;
  #waiting = 0;

  constructor(window: DelayWindow, bytesMax: number, waitingMax: number) {
    this.#window = window;
    this.#bytesMax = bytesMax;
    this.#waitingMax = waitingMax;
  }

  get inFlight(): number {
    return this.#window.ops;
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

  /** To be called once for each item that entered, when it is over. */
  leave(item: T): void {
    if (item.admitted) {
      item.admitted = false;
      this.#window.leave();
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
    if (this.#window.ops === 0) return true;
    return this.#window.hasRoom && this.#bytes + item.bytes <= this.#bytesMax;
  }
}
