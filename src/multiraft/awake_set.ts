import { assert } from '../base/assert.js';
import type { Peer } from './peer.js';

/** The peers that tick. Adding, removing and walking cost nothing for those that hibernate. */
export class AwakeSet {
  private readonly peers: Peer[] = [];

  get size(): number {
    return this.peers.length;
  }

  /** Idempotent. */
  add(peer: Peer): void {
    if (peer.awakeSlot >= 0) return;
    peer.awakeSlot = this.peers.length;
    this.peers.push(peer);
  }

  /** Idempotent. */
  remove(peer: Peer): void {
    const slot = peer.awakeSlot;
    if (slot < 0) return;
    peer.awakeSlot = -1;
    const last = this.peers.pop();
    assert(last !== undefined, 'a peer that is awake is in the set');
    if (last === peer) return;
    this.peers[slot] = last;
    last.awakeSlot = slot;
  }

  /** One tick for each. Backwards: a peer that falls asleep in its tick gives its place to one that ticked already. */
  tick(): void {
    for (let slot = this.peers.length - 1; slot >= 0; slot--) this.peers[slot]?.tick();
  }
}
