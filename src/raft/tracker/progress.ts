import { assert } from '../../base/assert.js';
import type { ProgressStateName } from '../ready.js';
import { Inflights } from './inflights.js';

/**
 * What a leader knows of one member.
 *
 *              accepted                  snapshot needed
 *     probe ─────────────▶ replicate ───────────────────▶ snapshot
 *       ▲                    │    ▲                          │
 *       └────────────────────┘    └──────────────────────────┘
 *        rejected, unreachable       reconnected to the log
 *        (and from snapshot, when its transfer ended)
 *
 * Invariants: match < next; match is on the member's disk; in `replicate` entries [match + 1, next) are on their way.
 */
export class Progress {
  readonly id: number;
  /** Tells this membership from earlier ones of the same id: echoed by acknowledgements, which count only if it fits. */
  readonly session: number;
  /** Read rounds up to this one were sent before it became a member. */
  readonly roundFloor: number;
  readonly inflights: Inflights;
  state: ProgressStateName = 'probe';
  match = 0;
  next: number;
  learner: boolean;
  /** Heard from since the last CheckQuorum evaluation. */
  recentActive: boolean;
  /** probe: an append with entries is unanswered. replicate: the window was full. */
  flowPaused = false;
  /** The next entries are being loaded from disk. */
  loading = false;
  /** snapshot: index of the snapshot on its way, 0 once its transfer failed. */
  pendingSnapshot = 0;
  /** The commit index sent last. */
  sentCommit = 0;
  /** The highest read round answered. */
  ackedRound = 0;

  constructor(o: {
    id: number;
    session: number;
    roundFloor: number;
    next: number;
    learner: boolean;
    recentActive: boolean;
    inflightMsgsMax: number;
    inflightBytesMax: number;
  }) {
    this.id = o.id;
    this.session = o.session;
    this.roundFloor = o.roundFloor;
    this.next = o.next;
    this.learner = o.learner;
    this.recentActive = o.recentActive;
    this.inflights = new Inflights(o.inflightMsgsMax, o.inflightBytesMax);
  }

  becomeProbe(): void {
    // After a snapshot was sent, probe from where it leads to rather than send it again.
    const afterSnapshot = this.state === 'snapshot' ? this.pendingSnapshot + 1 : 0;
    this.enter('probe');
    this.next = Math.max(this.match + 1, afterSnapshot);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.enter('replicate');
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.enter('snapshot');
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  private enter(state: ProgressStateName): void {
    this.state = state;
    this.flowPaused = false;
    this.loading = false;
    this.pendingSnapshot = 0;
    this.inflights.reset();
  }

  isPaused(): boolean {
    return this.flowPaused || this.state === 'snapshot';
  }

  /** Notes an append with `count` entries from `next` on. */
  sentEntries(count: number, bytes: number): void {
    assert(this.state !== 'snapshot', 'raft: nothing is appended while a snapshot is on its way');
    if (this.state === 'replicate') {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, bytes);
      }
      this.flowPaused = this.inflights.full();
    } else if (count > 0) {
      this.flowPaused = true;
    }
  }

  /** True when the member has entries, on disk or on their way, that it was not told the commit of. */
  wantsCommit(commit: number): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  /** Takes an acknowledgement up to index; false when it teaches nothing new. */
  acknowledge(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.flowPaused = false;
    return true;
  }

  /**
   * Takes the rejection of an append after `rejected`; `hint` is where logs may agree. False when it is
   * stale: it answers an append from before what is known by now.
   */
  reject(rejected: number, hint: number): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.sentCommit = Math.min(this.sentCommit, this.next - 1);
      return true;
    }
    // While probing, only the answer to the last probe counts; and a member that denies what it acknowledged (its disk is not
    // what it was) is not asked again and again: the next heartbeat's answer is soon enough.
    if (this.next - 1 !== rejected || rejected <= this.match) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.flowPaused = false;
    return true;
  }
}
