import { engineKeyBytesMax } from './limits.js';

/** Keys whose first byte is zero are the engine's own (op_batch.ts refuses them); this is the first that is not. */
export const firstKey = Buffer.from([1]);

/** Greater than every key: longer than the longest one, and all ones. */
export const pastEveryKey = Buffer.alloc(engineKeyBytesMax + 1, 0xff);

/** Holds a batch with large ranges while it is being written; absent otherwise (batch_applier.ts). */
export const redoKey = Buffer.concat([Buffer.from([0]), Buffer.from('redo', 'utf8')]);
