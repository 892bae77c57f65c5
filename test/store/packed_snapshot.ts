import { packedBytes, packedEnd, packRows } from '../../src/engine/packed_rows.js';

/** The bytes of a snapshot with these rows of one tag. */
export function packedSnapshot(tag: number, rows: readonly (readonly [string, string])[]): Buffer {
  const buffers = rows.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  const bytes = Buffer.alloc(packedBytes(buffers, 0));
  packRows(bytes, 0, buffers, tag, 0);
  return Buffer.concat([bytes, packedEnd(rows.length)]);
}
