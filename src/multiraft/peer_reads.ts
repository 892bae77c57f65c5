import type { ReadFailure } from './host.js';
import { readFailedIndex, type ReadState } from '../raft/ready.js';
import type { Peer } from './peer.js';
import type { PeerParts } from './peer_parts.js';
import { ReadWaiters, type ReadDone } from './read_waiters.js';

/** The linearizable reads of one group between their callers and the core. Made with the first read, dropped when the group sleeps. */
export class PeerReads {
  private readonly peer: Peer;
  private readonly parts: PeerParts;
  private readonly waiters = new ReadWaiters();

  constructor(peer: Peer, parts: PeerParts) {
    this.peer = peer;
    this.parts = parts;
  }

  get isEmpty(): boolean {
    return this.waiters.count === 0;
  }

  get isFull(): boolean {
    return this.waiters.count >= this.parts.host.options.limits.groupReads;
  }

  /** Reads gathered, and there is room for another round. */
  get canStart(): boolean {
    return this.waiters.gathered && this.waiters.rounds < this.parts.host.options.limits.groupReadRounds;
  }

  add(done: ReadDone): void {
    this.waiters.add(done);
    this.parts.host.counters.reads++;
  }

  /** In the turn: what gathered becomes one round, which a lease answers at once. */
  startRound(): void {
    if (!this.canStart) return;
    const { counters, tick, options } = this.parts.host;
    const context = this.parts.nextReadContext();
    const reads = this.waiters.startRound(context, tick + options.readTimeoutTicks);
    if (this.peer.core.readIndex(context)) {
      counters.readsByLease += reads;
      return;
    }
    counters.readRounds++;
    counters.readsByRound += reads;
  }

  /** What the core says about a round. */
  settle({ index, context }: ReadState): void {
    if (index === readFailedIndex) this.waiters.roundFailed(context, this.failure('notLeader'));
    else this.waiters.roundAnswered(context, index, this.peer.appliedIndex);
  }

  appliedTo(index: number): void {
    this.waiters.appliedTo(index);
  }

  tick(): void {
    if (this.waiters.count > 0) this.waiters.expire(this.parts.host.tick, this.failure('timeout'));
  }

  /** Another leader, or none: the rounds on their way come to nothing. */
  reignEnded(): void {
    this.waiters.failAsked(this.failure('notLeader'));
  }

  stop(): void {
    this.waiters.failAll(this.failure('stopped'));
  }

  private failure(reason: ReadFailure['reason']): ReadFailure {
    return { reason, leaderId: this.peer.core.leaderId };
  }
}
