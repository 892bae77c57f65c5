import { memberIds } from '../raft/conf_state.js';
import { MsgType, type ConfState, type Message } from '../raft/message.js';
import { majoritySize } from '../raft/quorum/majority.js';
import { BeatSleep } from '../wire/beat_codec.js';
import type { Peer } from './peer.js';
import type { PeerParts } from './peer_parts.js';

/**
 * Says of one replica whether it hibernates: leaves the set of those that tick (DESIGN section 4).
 *
 *     leader: unused for hibernateAfterTicks, everything applied on all that can be reached ─▶ asks in its heartbeats
 *     followers: everything applied ─▶ sleep, and say so in their answers
 *     leader: all others said so ─▶ sleeps
 *
 *     leader wakes (a request, a message, too few hosts left, a member's host back) ─▶ a heartbeat at once, which wakes the followers
 *     follower wakes (a request, a message of another, its leader's host lost) ─▶ an answer to the leader, which wakes it
 *
 * While it sleeps a follower takes the life of its leader's host for its leader's (host_liveness.ts). Nothing about safety rests on
 * that: a leader that sleeps has no lease, so its reads take a round and its proposals a majority. Messages may be lost: a
 * heartbeat that does not ask for sleep, and comes with every interval, wakes; a follower that wrongly sleeps on is woken by it,
 * one that wrongly stays awake campaigns in vain, by PreVote, and wakes its leader with that.
 *
 * Members whose host is lost count as asleep, so that the loss of a host does not keep every group with a replica there awake. A
 * majority of the voters, the leader among them, must be on hosts that live: with fewer the leader wakes to CheckQuorum. When a lost
 * host is back, the leaders that sleep and have a member there wake, in slices (early_campaigns.ts), and stay awake until it is level.
 */
export class Hibernation {
  asleep = false;
  private readonly peer: Peer;
  private readonly parts: PeerParts;
  /** The latest heartbeat in the mailbox, if it asks for sleep. */
  private asked: Message | null = null;
  /** As a leader: members that said that they sleep, since this replica asked; null: none. */
  private sleepers: number[] | null = null;

  constructor(peer: Peer, parts: PeerParts) {
    this.peer = peer;
    this.parts = parts;
  }

  /** A heartbeat or the answer to one came. One that neither asks for sleep nor tells of it wakes. False: there is nothing else in it. */
  heard(message: Message, sleep: BeatSleep): boolean {
    const asks = sleep === BeatSleep.sleep;
    const { core } = this.peer;
    if (message.type === MsgType.MsgHeartbeatResp) {
      // A leader that sleeps knows already.
      if (asks && this.asleep) return false;
      if (message.term === core.term) this.answered(message.from, asks);
    } else {
      this.asked = asks ? message : null;
    }
    if (!asks) this.wake(message.from !== core.leaderId);
    return true;
  }

  /** A heartbeat that asks for sleep waits for the turn to obey. */
  get isAsked(): boolean {
    return this.asked !== null;
  }

  private answered(from: number, asleep: boolean): void {
    const sleepers = (this.sleepers ?? []).filter((id) => id !== from);
    if (asleep) sleepers.push(from);
    this.sleepers = sleepers.length === 0 ? null : sleepers;
  }

  /** The group is in use: whoever slept has been or will be woken. */
  interrupt(tellLeader: boolean): void {
    this.wake(tellLeader);
    this.asked = null;
    this.sleepers = null;
  }

  /** Ticks again, if it hibernates. `tellLeader`: the leader, if it is another, has to wake as well. */
  wake(tellLeader: boolean): void {
    const { peer, parts } = this;
    if (!this.asleep || peer.stopped) return;
    this.asleep = false;
    this.asked = null;
    this.sleepers = null;
    parts.host.counters.wakes++;
    parts.awake.add(peer);
    peer.core.wake(tellLeader);
    parts.turn.markDirty(peer);
  }

  private sleep(): void {
    this.asleep = true;
    this.asked = null;
    this.sleepers = null;
    this.peer.trim();
    this.parts.host.counters.hibernations++;
    this.parts.awake.remove(this.peer);
  }

  /** With every tick of a leader: one that nobody uses sleeps once everyone else does. */
  tickLeader(): void {
    if (this.isUnused() && this.othersSleep() && this.mayLeadAsleep()) this.sleep();
  }

  /** In the turn, after the mailbox: a follower whose leader asked for it sleeps, if it may. */
  obey(): void {
    const { asked, peer } = this;
    if (asked === null) return;
    this.asked = null;
    const { role, leaderId, term, lastIndex } = peer.core;
    const obeys = role === 'follower' && leaderId === asked.from && term === asked.term && lastIndex === asked.commit;
    if (!obeys || !peer.isIdle(neverAway)) this.wake(true);
    else if (!this.asleep) this.sleep();
  }

  /** What a heartbeat, or the answer to one, that leaves now says about sleep. */
  markOf(message: Message): BeatSleep {
    const sleeps = message.type === MsgType.MsgHeartbeatResp ? this.asleep : this.isUnused() && this.mayLeadAsleep();
    return sleeps ? BeatSleep.sleep : BeatSleep.none;
  }

  /** True when the loss of a host concerns it: its leader is there, or it sleeps as a leader and too few hosts are left. */
  suffersFrom(lostHostId: number): boolean {
    const { leaderId } = this.peer.core;
    if (!this.peer.isLeader()) return leaderId !== 0 && this.peer.hostOf(leaderId) === lostHostId;
    return this.asleep && !this.quorumLives();
  }

  /** True for a leader that sleeps with a member on that host: should the host have been away, the member needs to hear of it. */
  sleepsOver(hostId: number): boolean {
    if (!this.asleep || !this.peer.isLeader()) return false;
    return memberIds(this.peer.confState).some((id) => this.peer.hostOf(id) === hostId);
  }

  private isUnused(): boolean {
    const { tick, options } = this.parts.host;
    return options.hibernateAfterTicks > 0 && tick - this.peer.usedTick >= options.hibernateAfterTicks;
  }

  /** True when every other member said that it sleeps, or cannot say anything. */
  private othersSleep(): boolean {
    const { sleepers, peer } = this;
    return memberIds(peer.confState).every(
      (id) => id === peer.replicaId || sleepers?.includes(id) === true || this.isAway(id),
    );
  }

  private mayLeadAsleep(): boolean {
    return this.peer.isIdle((id) => this.isAway(id)) && this.quorumLives();
  }

  /** A majority of the voters is on hosts that live. */
  private quorumLives(): boolean {
    const { voters, votersOutgoing } = this.peer.confState;
    return this.majorityLives(voters) && this.majorityLives(votersOutgoing);
  }

  private majorityLives(voters: ConfState['voters']): boolean {
    let living = 0;
    for (const id of voters) if (!this.isAway(id)) living++;
    return voters.length === 0 || living >= majoritySize(voters.length);
  }

  /** On a host that is lost. Of one whose host is not known nobody would notice the return: it is waited for. */
  private isAway(id: number): boolean {
    const hostId = this.peer.hostOf(id);
    return id !== this.peer.replicaId && hostId !== 0 && !this.parts.liveness.isAlive(hostId);
  }
}

/** A follower's sleep does not depend on the other members. */
function neverAway(): boolean {
  return false;
}
