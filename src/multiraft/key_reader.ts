import type { Engine } from '../engine/engine.js';
import { EngineError } from '../engine/engine_error.js';
import type { Runtime } from '../base/runtime.js';
import { sleep } from '../base/runtime.js';
import { overlayKey, type Overlay } from './apply_pass.js';
import { prefetchKeysMax, prefetchRetryMs } from './limits.js';

/**
 * Reads the values that a pass wants. Applying cannot be refused: a read that the engine is too busy for is
 * asked again, one whose values are too large for one reply is asked in halves.
 * Rejects with what made the engine fail for good.
 */
export async function readKeys(engine: Engine, runtime: Runtime, keys: readonly Buffer[]): Promise<Overlay> {
  const overlay: Overlay = new Map();
  for (let start = 0; start < keys.length; start += prefetchKeysMax) {
    await readInto(overlay, engine, runtime, keys.slice(start, start + prefetchKeysMax));
  }
  return overlay;
}

async function readInto(overlay: Overlay, engine: Engine, runtime: Runtime, keys: readonly Buffer[]): Promise<void> {
  try {
    const values = await engine.getMany(keys);
    keys.forEach((key, i) => overlay.set(overlayKey(key), values[i] ?? null));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    if (error.code === 'busy') {
      await sleep(runtime, prefetchRetryMs);
      await readInto(overlay, engine, runtime, keys);
    } else if (error.code === 'tooLarge' && keys.length > 1) {
      const middle = keys.length >> 1;
      await readInto(overlay, engine, runtime, keys.slice(0, middle));
      await readInto(overlay, engine, runtime, keys.slice(middle));
    } else {
      throw error;
    }
  }
}
