import { randomBytes } from 'node:crypto';
import type { Runtime, TimerHandle } from './runtime.js';

/** The real clock, timers and randomness of this process. */
export function nodeRuntime(): Runtime {
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    nextTurn: (fn) => void setImmediate(fn),
    after(delayMs, fn): TimerHandle {
      const timer = setTimeout(fn, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    every(periodMs, fn): TimerHandle {
      const timer = setInterval(fn, periodMs);
      return { cancel: () => clearInterval(timer) };
    },
    random: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  };
}
