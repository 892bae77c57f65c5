import { assert } from '../base/assert.js';
import { rangesOverlap } from '../base/encoded_key.js';
import type { Shard, ShardRoute } from '../gen/skerry/v1/meta.js';

/**
 * What the client believes about one keyspace: its shards as sorted, disjoint ranges of encoded keys, and who leads
 * them. The stores are the truth; entries come from look-ups, pushed changes and typed errors in any order, so every
 * update is checked: an older epoch or term never replaces a newer one. There may be holes; a hole means "look it up".
 */
export interface CachedReplica {
  readonly replicaId: number;
  readonly storeId: number;
  /** Learners do not lead and do not serve linearizable reads. */
  readonly voter: boolean;
}

export interface CachedShard {
  readonly shardId: number;
  readonly startKey: Buffer;
  /** Empty: the end of the keyspace. */
  readonly endKey: Buffer;
  readonly confVer: number;
  readonly version: number;
  readonly replicas: readonly CachedReplica[];
  /** 0: not known. */
  leaderStoreId: number;
  /** The highest term that was heard of for this shard. */
  term: number;
}

const roleVoter = 1;
const roleIncomingVoter = 3;
const roleOutgoingVoter = 4;
const roleDemotingVoter = 5;

/** The first six bytes of a key as a number, so that most comparisons of a search are between numbers. */
function prefixOf(key: Buffer): number {
  if (key.length >= 6) return key.readUIntBE(0, 6);
  let value = 0;
  for (let i = 0; i < 6; i++) value = value * 256 + (key[i] ?? 0);
  return value;
}

export class ShardCache {
  readonly #keyspaceId: number;
  /** Sorted by startKey; disjoint. */
  readonly #shards: CachedShard[] = [];
  readonly #prefixes: number[] = [];
  readonly #byId = new Map<number, CachedShard>();

  constructor(keyspaceId: number) {
    this.#keyspaceId = keyspaceId;
  }

  get shards(): readonly CachedShard[] {
    return this.#shards;
  }

  byId(shardId: number): CachedShard | null {
    return this.#byId.get(shardId) ?? null;
  }

  /** The shard that holds an encoded key; null: not known. */
  find(key: Buffer): CachedShard | null {
    const shard = this.#shards[this.#lastAtOrBefore(key)];
    if (shard === undefined) return null;
    return shard.endKey.length === 0 || key.compare(shard.endKey) < 0 ? shard : null;
  }

  /** The shard that holds the keys just below an encoded bound (empty: the end of the keyspace); null: not known. */
  findBelow(bound: Buffer): CachedShard | null {
    if (bound.length === 0) {
      const last = this.#shards.at(-1);
      return last !== undefined && last.endKey.length === 0 ? last : null;
    }
    let at = this.#lastAtOrBefore(bound);
    if (at >= 0 && this.#shards[at]?.startKey.equals(bound)) at--;
    const shard = this.#shards[at];
    if (shard === undefined) return null;
    return shard.endKey.length === 0 || bound.compare(shard.endKey) <= 0 ? shard : null;
  }

  /** Index of the last shard whose startKey <= key; -1: none. */
  #lastAtOrBefore(key: Buffer): number {
    const prefix = prefixOf(key);
    const prefixes = this.#prefixes;
    let low = 0;
    let high = prefixes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = prefixes[middle] ?? 0;
      const atOrBefore = other === prefix ? this.#startsAtOrBefore(middle, key) : other < prefix;
      if (atOrBefore) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #startsAtOrBefore(index: number, key: Buffer): boolean {
    const start = this.#shards[index]?.startKey;
    return start !== undefined && start.compare(key) <= 0;
  }

  /**
   * Learns a shard's range and replicas. Returns the shards whose range is no longer what it was (the ones that gave way, or the
   * former self), or null when the news was old and nothing changed.
   */
  applyShard(shard: Shard): CachedShard[] | null {
    const epoch = shard.epoch;
    if (epoch === undefined || shard.keyspaceId !== this.#keyspaceId) return null;
    const known = this.#byId.get(shard.shardId);
    if (known !== undefined && !isNewer(epoch.version, epoch.confVer, known)) return null;
    const { from, to } = this.#overlapping(shard.startKey, shard.endKey);
    const displaced: CachedShard[] = [];
    for (const other of this.#shards.slice(from, to)) {
      if (other === known) continue;
      // Splits and merges raise the version of every shard that they touch.
      if (other.version >= epoch.version) return null;
      displaced.push(other);
    }
    // A shard that was split off is most likely led where its parent was; a wrong guess costs one redirect.
    const fresh = cachedShardOf(shard, known, known ?? displaced[0]);
    if (known !== undefined && !sameRange(known, fresh)) displaced.push(known);
    this.#replace(known, displaced, fresh);
    return displaced;
  }

  /** The indexes [from, to) of the shards that share a key with a range. */
  #overlapping(startKey: Uint8Array, endKey: Uint8Array): { from: number; to: number } {
    const overlaps = (shard: CachedShard | undefined): boolean =>
      shard !== undefined && rangesOverlap(shard.startKey, shard.endKey, startKey, endKey);
    let from = Math.max(0, this.#lastAtOrBefore(Buffer.from(startKey)));
    if (!overlaps(this.#shards[from])) from++;
    let to = from;
    while (overlaps(this.#shards[to])) to++;
    return { from, to };
  }

  #replace(known: CachedShard | undefined, displaced: readonly CachedShard[], fresh: CachedShard): void {
    if (known !== undefined && displaced.length === 0) this.#shards[this.#indexOf(known)] = fresh;
    else {
      for (const gone of displaced) this.#take(gone);
      const at = this.#lastAtOrBefore(fresh.startKey) + 1;
      this.#shards.splice(at, 0, fresh);
      this.#prefixes.splice(at, 0, prefixOf(fresh.startKey));
    }
    this.#byId.set(fresh.shardId, fresh);
  }

  #indexOf(shard: CachedShard): number {
    const at = this.#lastAtOrBefore(shard.startKey);
    assert(this.#shards[at] === shard, 'a shard known by id is in the sorted list');
    return at;
  }

  #take(shard: CachedShard): void {
    const at = this.#indexOf(shard);
    this.#shards.splice(at, 1);
    this.#prefixes.splice(at, 1);
    this.#byId.delete(shard.shardId);
  }

  /** Learns a shard and its leader. As applyShard; news of the leader alone displaces nothing. */
  applyRoute(route: ShardRoute): CachedShard[] | null {
    if (route.shard === undefined) return null;
    const displaced = this.applyShard(route.shard);
    this.applyLeader(route.shard.shardId, route.leaderStoreId, route.term);
    return displaced;
  }

  /** Learns who leads. Of one term there is one leader, so equal terms only fill in what was not known. */
  applyLeader(shardId: number, leaderStoreId: number, term: number): boolean {
    const shard = this.#byId.get(shardId);
    if (shard === undefined || term < shard.term) return false;
    if (leaderStoreId === 0 || (term === shard.term && shard.leaderStoreId !== 0)) {
      shard.term = term;
      return false;
    }
    if (!shard.replicas.some((r) => r.storeId === leaderStoreId)) return false;
    shard.term = term;
    shard.leaderStoreId = leaderStoreId;
    return true;
  }

  /** A store that was thought to lead says that it does not, or cannot be reached: forget that it leads. */
  denyLeader(shardId: number, storeId: number): void {
    const shard = this.#byId.get(shardId);
    if (shard !== undefined && shard.leaderStoreId === storeId) shard.leaderStoreId = 0;
  }

  /** Forgets a shard, so that its next use looks it up. Returns what was forgotten. */
  forget(shardId: number): CachedShard | null {
    const shard = this.#byId.get(shardId);
    if (shard === undefined) return null;
    this.#take(shard);
    return shard;
  }

  /** Sorted, disjoint and consistent; called by tests after every step. */
  checkInvariants(): void {
    assert(this.#shards.length === this.#byId.size, 'as many shards by range as by id');
    assert(this.#prefixes.length === this.#shards.length, 'one prefix for each shard');
    this.#shards.forEach((shard, i) => {
      assert(this.#byId.get(shard.shardId) === shard, 'ranges and ids hold the same shards');
      assert(this.#prefixes[i] === prefixOf(shard.startKey), 'prefixes belong to start keys');
      const next = this.#shards[i + 1];
      if (next === undefined) return;
      assert(shard.startKey.compare(next.startKey) < 0, 'shards are sorted');
      assert(shard.endKey.length > 0 && shard.endKey.compare(next.startKey) <= 0, 'shards are disjoint');
    });
  }
}

function isNewer(version: number, confVer: number, than: CachedShard): boolean {
  return version > than.version || (version === than.version && confVer > than.confVer);
}

function sameRange(a: CachedShard, b: CachedShard): boolean {
  return a.startKey.equals(b.startKey) && a.endKey.equals(b.endKey);
}

function cachedShardOf(shard: Shard, known: CachedShard | undefined, parent: CachedShard | undefined): CachedShard {
  const replicas = shard.replicas.map((r) => ({
    replicaId: r.replicaId,
    storeId: r.storeId,
    voter:
      r.role === roleVoter ||
      r.role === roleIncomingVoter ||
      r.role === roleOutgoingVoter ||
      r.role === roleDemotingVoter,
  }));
  const leader = parent?.leaderStoreId ?? 0;
  return {
    shardId: shard.shardId,
    // Copies: a view would pin the frame that it came in for as long as the route is cached.
    startKey: Buffer.from(shard.startKey),
    endKey: Buffer.from(shard.endKey),
    confVer: shard.epoch?.confVer ?? 0,
    version: shard.epoch?.version ?? 0,
    replicas,
    leaderStoreId: replicas.some((r) => r.storeId === leader) ? leader : 0,
    term: known?.term ?? 0,
  };
}
