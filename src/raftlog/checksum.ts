import * as zlib from 'node:zlib';

/** CRC-32 (IEEE 802.3, reflected), continued from `seed`. */
export type Crc32 = (data: Uint8Array, seed: number) => number;

/** The table form, for versions of Node without zlib.crc32 (before 20.15). */
export function tableCrc32(): Crc32 {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    table[n] = c >>> 0;
  }
  return (data, seed) => {
    let c = ~seed;
    for (let i = 0; i < data.length; i++) c = (table[(c ^ (data[i] ?? 0)) & 0xff] ?? 0) ^ (c >>> 8);
    return ~c >>> 0;
  };
}

const native: Crc32 | undefined = (zlib as { crc32?: Crc32 }).crc32;

export const crc32: Crc32 = native ?? tableCrc32();

/**
 * The seed of an entry's own checksum. Mixing in where the entry belongs and what its header says makes
 * the checksum refuse an entry of another group or index, and a damaged header, without a second pass.
 */
export function entrySeed(groupId: number, index: number, term: number, type: number, length: number): number {
  let h = Math.imul(groupId | 0, 0x9e3779b1) ^ Math.imul((groupId / 2 ** 32) | 0, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15) ^ (index | 0), 0xc2b2ae35) ^ ((index / 2 ** 32) | 0);
  h = Math.imul(h ^ (h >>> 13) ^ (term | 0), 0x27d4eb2f) ^ ((term / 2 ** 32) | 0);
  h = Math.imul(h ^ (h >>> 16) ^ length, 0x165667b1) ^ type;
  return (h ^ (h >>> 15)) >>> 0;
}
