/**
 * Tokens of hash keyspaces. The CRC is CRC-16/XMODEM as the Redis Cluster specification names it; the
 * slot is its low 14 bits of the key's hash tag, or of the whole key. The token is the slot in the
 * high 14 bits and the CRC's other two bits below it: shards of a hash keyspace are ranges of slots.
 */

const table = new Uint16Array(256);
for (let i = 0; i < 256; i++) {
  let crc = i << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  table[i] = crc;
}

const openBrace = 0x7b;
const closeBrace = 0x7d;

/** CRC-16/XMODEM of key[start, end). */
export function crc16(key: Uint8Array, start = 0, end = key.length): number {
  let crc = 0;
  for (let i = start; i < end; i++) {
    crc = ((crc << 8) & 0xffff) ^ (table[((crc >> 8) ^ (key[i] ?? 0)) & 0xff] ?? 0);
  }
  return crc;
}

/** The CRC of the key's hash tag: the bytes between the first `{` and the next `}`, if there are any. */
function tagCrc(key: Uint8Array): number {
  const open = key.indexOf(openBrace);
  if (open !== -1) {
    const close = key.indexOf(closeBrace, open + 1);
    if (close > open + 1) return crc16(key, open + 1, close);
  }
  return crc16(key);
}

/** The Redis Cluster slot of a key, 0 to 16,383. */
export function slotOf(key: Uint8Array): number {
  return tagCrc(key) & 0x3fff;
}

/** The 16-bit token of a key. */
export function tokenOf(key: Uint8Array): number {
  const crc = tagCrc(key);
  return ((crc & 0x3fff) << 2) | (crc >> 14);
}
