import { message } from './output.js';

const redrawMs = 100;
const barWidth = 30;

/**
 * Progress of long work on standard error: a bar that redraws itself when that is a terminal, and only the final line when it
 * is not. `total` 0: not known.
 */
export class Progress {
  readonly #what: string;
  readonly #total: number;
  readonly #startMs = performance.now();
  readonly #live = process.stderr.isTTY;
  #done = 0;
  #drawnMs = 0;

  constructor(what: string, total: number) {
    this.#what = what;
    this.#total = total;
  }

  /** `fraction` is of the whole, where it is known better than by counting. */
  add(count: number, fraction?: number): void {
    this.#done += count;
    if (!this.#live) return;
    const nowMs = performance.now();
    if (nowMs - this.#drawnMs < redrawMs) return;
    this.#drawnMs = nowMs;
    process.stderr.write(`\r${this.#line(fraction ?? (this.#total > 0 ? this.#done / this.#total : null))}\u001b[K`);
  }

  #line(fraction: number | null): string {
    const rate = Math.round(this.#done / Math.max(0.001, (performance.now() - this.#startMs) / 1000));
    const filled = fraction === null ? 0 : Math.round(Math.min(1, fraction) * barWidth);
    const bar = fraction === null ? '' : `[${'#'.repeat(filled)}${' '.repeat(barWidth - filled)}] `;
    return `${bar}${this.#done.toLocaleString('en')} ${this.#what}, ${rate.toLocaleString('en')}/s`;
  }

  /** Takes the bar away and says how it went. */
  finish(): void {
    if (this.#live) process.stderr.write('\r\u001b[K');
    const seconds = (performance.now() - this.#startMs) / 1000;
    message(`${this.#line(null)} (${seconds.toFixed(1)} s)`);
  }
}
