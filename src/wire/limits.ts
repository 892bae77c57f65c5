import { commandOpsMax, frameBytesMax, scanRowsMax } from '../base/limits.js';
import { assert } from '../base/assert.js';

/** Bytes that the longest varint of a 64-bit field takes (10 groups of 7 bits). */
export const varintBytesMax = 10;
/**
 * Elements of repeated fields that one frame may hold, nested ones counted too. An element costs about fifty
 * times its two bytes once decoded, so a hostile frame of the largest size could otherwise ask for gigabytes.
 */
export const frameItemsMax = 1_048_576;

assert(commandOpsMax * 16 <= frameItemsMax, 'a frame has room for many of the largest commands');
assert(scanRowsMax * 2 <= frameItemsMax, 'the largest page can be decoded');
assert(frameItemsMax * 2 <= frameBytesMax, 'the limit on elements is reached before the one on bytes, or never');
