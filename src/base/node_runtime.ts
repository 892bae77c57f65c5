import { randomFillSync } from 'node:crypto';
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
    random: pooledRandom(),
  };
}

const randomBytesEach = 6;

/** Floats in [0, 1) from the system's generator, asked for many at a time: each question costs microseconds. */
function pooledRandom(): () => number {
  const pool = Buffer.alloc(256 * randomBytesEach);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const value = pool.readUIntBE(used, randomBytesEach) / 2 ** (8 * randomBytesEach);
    used += randomBytesEach;
    return value;
  };
}
