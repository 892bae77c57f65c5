import { assert } from '../base/assert.js';

/**
 * A client's session: it numbers writes, and tells each shard up to where that shard may forget.
 *
 * Every write gets one sequence, kept over all of its attempts. The state machine applies a sequence of a session
 * once and must remember it while a retry may come. The floor sent to a shard is the smallest sequence still
 * outstanding among the writes whose key lies in that shard *now*, the waiting ones included: below it no retry
 * comes. Floors are per shard because a write that waits must not hold back the others' shards, and they follow the
 * keys: after a split or merge the writes concerned are placed again, by the new ranges.
 */

/** A write as its session sees it. */
export interface SequencedWrite {
  /** 0: not numbered yet. */
  sequence: number;
  /** Its place in the shard that holds its key; the session's own business, as are the others. */
  place: WritePlace | null;
  /** Places in further shards, for a write with keys in several. */
  morePlaces: WritePlace[] | null;
}

/** A write's place in one shard's list, which is sorted by sequence. */
export interface WritePlace {
  readonly write: SequencedWrite;
  readonly list: OutstandingList;
  previous: WritePlace | null;
  next: WritePlace | null;
}

class OutstandingList {
  first: WritePlace | null = null;
  last: WritePlace | null = null;

  insert(write: SequencedWrite): WritePlace {
    const place: WritePlace = { write, list: this, previous: this.last, next: null };
    // New writes go to the end; only writes that are placed again walk.
    while (place.previous !== null && place.previous.write.sequence > write.sequence) {
      place.next = place.previous;
      place.previous = place.previous.previous;
    }
    if (place.previous === null) this.first = place;
    else place.previous.next = place;
    if (place.next === null) this.last = place;
    else place.next.previous = place;
    return place;
  }

  remove(place: WritePlace): void {
    if (place.previous === null) this.first = place.next;
    else place.previous.next = place.next;
    if (place.next === null) this.last = place.previous;
    else place.next.previous = place.previous;
    // A dead place that still points at live ones keeps all that came after it from an early collection.
    place.previous = null;
    place.next = null;
  }
}

export class Session {
  /** 0 until the cluster has given an id. */
  #id = 0;
  #nextSequence = 1;
  readonly #shards = new Map<number, OutstandingList>();
  /** Writes with a key that lies in no shard that is known. */
  readonly #homeless = new Set<SequencedWrite>();

  get id(): number {
    return this.#id;
  }

  open(id: number): void {
    assert(this.#id === 0 && id > 0, 'a session is opened once');
    this.#id = id;
  }

  /** Gives a write its sequence, once. */
  number(write: SequencedWrite): void {
    assert(write.sequence === 0, 'a write is numbered once');
    write.sequence = this.#nextSequence++;
  }

  /** Says in which shard all keys of a numbered write lie now. Replaces what was said before. */
  placeIn(write: SequencedWrite, shardId: number): void {
    this.remove(write);
    this.#insert(write, shardId);
  }

  /** As placeIn for keys of several shards; null for each key whose shard is not known. */
  placeAmong(write: SequencedWrite, shardIds: Iterable<number | null>): void {
    this.remove(write);
    for (const shardId of new Set(shardIds)) {
      if (shardId === null) this.#homeless.add(write);
      else this.#insert(write, shardId);
    }
  }

  #insert(write: SequencedWrite, shardId: number): void {
    assert(write.sequence > 0, 'a write is numbered before it is placed');
    let list = this.#shards.get(shardId);
    if (list === undefined) {
      list = new OutstandingList();
      this.#shards.set(shardId, list);
    }
    const place = list.insert(write);
    if (write.place === null) write.place = place;
    else if (write.morePlaces === null) write.morePlaces = [place];
    else write.morePlaces.push(place);
  }

  /** The write has been answered, or replaced by its parts. Idempotent. */
  remove(write: SequencedWrite): void {
    if (this.#homeless.size > 0) this.#homeless.delete(write);
    write.place?.list.remove(write.place);
    write.place = null;
    if (write.morePlaces === null) return;
    for (const place of write.morePlaces) place.list.remove(place);
    write.morePlaces = null;
  }

  /** Every sequence below it has been answered, for keys of this shard. */
  ackedBelow(shardId: number): number {
    return this.#shards.get(shardId)?.first?.write.sequence ?? this.#nextSequence;
  }

  /** The writes to place again after these shards' ranges changed: theirs and the homeless ones. Forgets the shards. */
  displace(shardIds: readonly number[]): SequencedWrite[] {
    const writes = new Set(this.#homeless);
    for (const shardId of shardIds) {
      for (let place = this.#shards.get(shardId)?.first ?? null; place !== null; place = place.next) {
        writes.add(place.write);
      }
      this.#shards.delete(shardId);
    }
    return [...writes];
  }
}
