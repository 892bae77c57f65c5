import { candidatesPerRoundMax } from '../limits.js';

/**
 * Where rounds stopped looking through sets of shards. A round that looks at as many shards as it may goes on there the next time,
 * so that shards at the end of a large set have their turn. The sets may change in between.
 */
export class Cursors {
  private readonly iterators = new Map<string, { readonly of: ReadonlySet<number>; at: IterableIterator<number> }>();
  private left = candidatesPerRoundMax;

  /** A round begins. */
  refill(): void {
    this.left = candidatesPerRoundMax;
  }

  /** True: this round has looked at as many shards as it may. */
  get isSpent(): boolean {
    return this.left <= 0;
  }

  /** Members of the set from where the last round with this name stopped, each once at most. */
  *through(name: string, set: ReadonlySet<number>): IterableIterator<number> {
    let cursor = this.iterators.get(name);
    if (cursor?.of !== set) this.iterators.set(name, (cursor = { of: set, at: set.values() }));
    for (let seen = set.size; seen > 0 && this.left > 0; seen--) {
      let next = cursor.at.next();
      if (next.done === true) {
        cursor.at = set.values();
        next = cursor.at.next();
        if (next.done === true) return;
      }
      this.left--;
      yield next.value;
    }
  }
}
