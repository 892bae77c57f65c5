import { assert } from '../base/assert.js';
import { pendingReadsMax, roundsPerTickMax } from './limits.js';

/** A read that waits on its leader. */
export interface WaitingRead {
  /** Who asked: the leader itself or a follower. */
  readonly from: number;
  /** The asker's id of the read. */
  readonly context: number;
  /** The commit index when it was asked: what the state machine must have applied. */
  readonly index: number;
}

interface RoundOfReads {
  readonly round: number;
  readonly reads: readonly WaitingRead[];
}

/**
 * A leader's reads (thesis §6.4). Reads are `fresh` until a round of heartbeats starts for all of
 * them; they are served once a quorum has answered that round or a later one, which proves that nobody else led when
 * the round was sent. A round is identified by a number of the leader's own, never by the caller's context, and
 * answers to it come back in heartbeat responses of the same term only.
 *
 * The high bits of a round id are the tick or millisecond in which it was sent: the start of the lease that its answers give.
 */
export class ReadRounds {
  private freshReads: WaitingRead[] = [];
  private rounds: RoundOfReads[] = [];
  private waitingCount = 0;
  private current = 0;
  /** Rounds up to this one give no lease. */
  private voidTo = 0;

  /** The latest round started. */
  get round(): number {
    return this.current;
  }

  get hasFresh(): boolean {
    return this.freshReads.length > 0;
  }

  get hasWaiting(): boolean {
    return this.waitingCount > 0;
  }

  /** False when too many wait already. */
  add(read: WaitingRead): boolean {
    if (this.waitingCount >= pendingReadsMax) return false;
    this.freshReads.push(read);
    this.waitingCount++;
    return true;
  }

  /** Starts a round in this tick or millisecond of lease time; its heartbeats are sent right after this. */
  start(stamp: number): void {
    const tick = Math.floor(stamp);
    const round = Math.max(this.current + 1, tick * roundsPerTickMax);
    assert(round < (tick + 1) * roundsPerTickMax, 'raft: rounds of one tick fit its ids');
    this.current = round;
  }

  /**
   * Has all fresh reads wait for the round just started. Only once the commit index is known to be current; it raises the index
   * of reads that came before.
   */
  enlist(commit: number): void {
    if (this.freshReads.length === 0) return;
    const reads = this.freshReads.map((read) => ({ ...read, index: Math.max(read.index, commit) }));
    this.rounds.push({ round: this.current, reads });
    this.freshReads = [];
  }

  /** Takes out what a quorum's answer to `round` serves. */
  confirm(round: number): readonly WaitingRead[] {
    const served: WaitingRead[] = [];
    while (this.rounds[0] !== undefined && this.rounds[0].round <= round)
      served.push(...(this.rounds.shift()?.reads ?? []));
    this.waitingCount -= served.length;
    return served;
  }

  /** Takes out everything. */
  drain(): readonly WaitingRead[] {
    const reads = [...this.rounds.flatMap((round) => round.reads), ...this.freshReads];
    this.rounds = [];
    this.freshReads = [];
    this.waitingCount = 0;
    return reads;
  }

  /** No round so far gives a lease; the next one does again. */
  voidLease(): void {
    this.voidTo = this.current;
  }

  /** When a round was sent, in lease time; null: it gives no lease. */
  leaseStart(round: number): number | null {
    return round > this.voidTo ? Math.floor(round / roundsPerTickMax) : null;
  }

  /** True when the answers to `round` still hold off elections `tick`s later. */
  givesLease(round: number, tick: number, leaseTicks: number): boolean {
    return round > this.voidTo && tick - Math.floor(round / roundsPerTickMax) <= leaseTicks;
  }
}
