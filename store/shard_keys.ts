import { decodeKey, partitioningHash, tokenBytes } from '../src/base/encoded_key.js';
import { tokenOf } from '../src/base/slot.js';
import { dataKey, dataRange, encodedKeyOf } from '../src/engine/keys.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';

/** From user keys to engine keys and back, for one shard: engine key = data prefix ‖ token (hash only) ‖ user key. */
export class ShardKeys {
  readonly start: Buffer;
  readonly end: Buffer;
  private readonly prefix: Buffer;
  private readonly hashed: boolean;
  private readonly partitioning: number;

  constructor(shard: Shard) {
    const { start, end } = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
    this.start = start;
    this.end = end;
    this.prefix = dataKey(shard.keyspaceId, Buffer.alloc(0));
    this.partitioning = shard.partitioning;
    this.hashed = shard.partitioning === partitioningHash;
  }

  /** The engine key of a user key, in or out of the shard. One allocation. */
  engineKey(userKey: Buffer): Buffer {
    const prefixLength = this.prefix.length;
    const keyAt = prefixLength + (this.hashed ? tokenBytes : 0);
    const out = Buffer.allocUnsafe(keyAt + userKey.length);
    out.set(this.prefix, 0);
    if (this.hashed) out.writeUInt16BE(tokenOf(userKey), prefixLength);
    out.set(userKey, keyAt);
    return out;
  }

  /** True when an engine key lies in the shard. */
  contains(engineKey: Buffer): boolean {
    return Buffer.compare(engineKey, this.start) >= 0 && Buffer.compare(engineKey, this.end) < 0;
  }

  /** The engine key of an encoded key. */
  ofEncoded(encodedKey: Uint8Array): Buffer {
    const out = Buffer.allocUnsafe(this.prefix.length + encodedKey.length);
    out.set(this.prefix, 0);
    out.set(encodedKey, this.prefix.length);
    return out;
  }

  encodedKey(engineKey: Buffer): Buffer {
    return encodedKeyOf(engineKey);
  }

  userKey(engineKey: Buffer): Buffer {
    return decodeKey(this.partitioning, encodedKeyOf(engineKey));
  }
}
