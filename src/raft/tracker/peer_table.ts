import { must } from '../../base/assert.js';
import type { MemberFate } from '../confchange/changer.js';
import { memberIds } from '../conf_state.js';
import type { ConfState } from '../message.js';
import { jointIndex } from '../quorum/joint.js';
import { majorityIndex, majoritySize } from '../quorum/majority.js';
import { Progress } from './progress.js';

/** Settings of every Progress in a table. */
export interface PeerTableOptions {
  readonly inflightMsgsMax: number;
  readonly inflightBytesMax: number;
}

/** A leader's members, ids ascending. Lives as long as the leadership. */
export class PeerTable {
  private readonly options: PeerTableOptions;
  /** How often an id was removed under this leadership; only ids that were. Null: none. */
  private removals: Map<number, number> | null = null;
  private members: readonly Progress[] = [];
  private incoming: readonly Progress[] = [];
  private outgoing: readonly Progress[] = [];
  /** Kept apart: rounds outgrow 31 bits, and matches would become boxed numbers with them. */
  private readonly matchScratch: number[] = [];
  private readonly roundScratch: number[] = [];

  /** At the start of a leadership: every member starts as a probe at `next`, not heard from yet. */
  constructor(options: PeerTableOptions, conf: ConfState, next: number) {
    this.options = options;
    this.arrange(
      conf,
      memberIds(conf).map((id) => this.make(id, next, 0, false)),
    );
  }

  get all(): readonly Progress[] {
    return this.members;
  }

  find(id: number): Progress | null {
    for (const peer of this.members) if (peer.id === id) return peer;
    return null;
  }

  /** Takes a new configuration. New members start as probes at `next`, as if just heard from. */
  reconfigure(conf: ConfState, fates: ReadonlyMap<number, MemberFate>, next: number, round: number): void {
    for (const peer of this.members) {
      if (fates.get(peer.id) === 'kept') continue;
      this.removals ??= new Map();
      this.removals.set(peer.id, (this.removals.get(peer.id) ?? 0) + 1);
    }
    const members = memberIds(conf).map((id) => {
      const known = fates.get(id) === 'kept' ? this.find(id) : null;
      return known ?? this.make(id, next, round, true);
    });
    this.arrange(conf, members);
  }

  private make(id: number, next: number, round: number, recentActive: boolean): Progress {
    return new Progress({
      id,
      session: this.removals?.get(id) ?? 0,
      roundFloor: round,
      next,
      learner: false,
      recentActive,
      ...this.options,
    });
  }

  private arrange(conf: ConfState, members: readonly Progress[]): void {
    this.members = members;
    for (const peer of members) peer.learner = conf.learners.includes(peer.id);
    const progressOf = (id: number): Progress => must(this.find(id), 'progress of a voter');
    this.incoming = conf.voters.map(progressOf);
    this.outgoing = conf.votersOutgoing.map(progressOf);
  }

  /** The highest index on the disks of a quorum. */
  quorumMatch(): number {
    const incoming = this.matchOf(this.incoming);
    return this.outgoing.length === 0 ? incoming : jointIndex(incoming, this.matchOf(this.outgoing));
  }

  private matchOf(half: readonly Progress[]): number {
    const values = this.matchScratch;
    if (values.length !== half.length) values.length = half.length;
    for (let i = 0; i < half.length; i++) values[i] = half[i]?.match ?? 0;
    return majorityIndex(values);
  }

  /** The latest read round that a quorum has answered. */
  quorumRound(): number {
    const incoming = this.roundOf(this.incoming);
    return this.outgoing.length === 0 ? incoming : jointIndex(incoming, this.roundOf(this.outgoing));
  }

  private roundOf(half: readonly Progress[]): number {
    const values = this.roundScratch;
    if (values.length !== half.length) values.length = half.length;
    for (let i = 0; i < half.length; i++) values[i] = half[i]?.ackedRound ?? 0;
    return majorityIndex(values);
  }

  /** True when a quorum was heard from since the last forgetActivity(). */
  quorumActive(): boolean {
    return majorityActive(this.incoming) && majorityActive(this.outgoing);
  }

  forgetActivity(selfId: number): void {
    for (const peer of this.members) if (peer.id !== selfId) peer.recentActive = false;
  }
}

/** No members: true, as for an empty half of a joint quorum. */
function majorityActive(half: readonly Progress[]): boolean {
  let active = 0;
  for (const peer of half) if (peer.recentActive) active++;
  return half.length === 0 || active >= majoritySize(half.length);
}
