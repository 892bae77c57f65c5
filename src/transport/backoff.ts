import type { Runtime } from '../base/runtime.js';
import { reconnectMaxMs, reconnectMinMs } from './limits.js';

/** Waits between attempts to connect: doubled each time, each between half and all of its nominal length. */
export class Backoff {
  private readonly runtime: Runtime;
  private nextMs = reconnectMinMs;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  delayMs(): number {
    const nominalMs = this.nextMs;
    this.nextMs = Math.min(reconnectMaxMs, nominalMs * 2);
    return nominalMs * (0.5 + this.runtime.random() / 2);
  }

  reset(): void {
    this.nextMs = reconnectMinMs;
  }
}
