import { randomInt } from '../base/runtime.js';
import type { HostContext } from './context.js';
import type { HostLiveness } from './host_liveness.js';
import type { Peer } from './peer.js';
import type { SuspectHosts } from './suspect_hosts.js';
import type { TickWork } from './ticker.js';

interface Planned {
  readonly peer: Peer;
  dueTick: number;
  /** The host whose loss is the reason; 0: the group has no leader for another reason, being new for one. */
  readonly lostHost: number;
  attemptsLeft: number;
}

/** Ticks between the turns of two replicas of one group, so that the second does not split the first one's vote. */
const rankTicks = 3;
/** Candidacies for a group whose leader's host was lost: other voters may notice later, or be held by a promise a little longer. */
const campaignAttempts = 2;
/** A new group's first leader asks again while the other replicas are still being made. */
const firstLeaderAttempts = 5;

/**
 * What the loss of a host and its return set off, in slices per tick, the groups used last first, so that losing a host with
 * thousands of leaders is neither a storm nor a long wait:
 *
 *     host lost ─▶ groups that it led, and hibernating groups led here with no quorum of hosts left ─▶ woken, wakesPerTick at a time
 *               ─▶ of the former: the leader is forgotten, a campaign before the election timeout is planned
 *     host back ─▶ hibernating groups led here with a replica there ─▶ woken likewise, so that the replica hears its leader
 *
 * PreVote makes an unneeded campaign harmless. The replicas of a group take turns by rank, and ranks differ from group to
 * group. New groups have their first campaigns from here as well.
 */
export class EarlyCampaigns implements TickWork {
  private readonly host: HostContext;
  private readonly liveness: HostLiveness;
  private readonly suspects: SuspectHosts;
  private readonly peers: ReadonlyMap<number, Peer>;
  private planned: Planned[] = [];
  /** Groups that wait to be woken because of a host, those used last at the end. */
  private readonly waking = new Map<number, Peer[]>();

  constructor(host: HostContext, liveness: HostLiveness, suspects: SuspectHosts, peers: ReadonlyMap<number, Peer>) {
    this.host = host;
    this.liveness = liveness;
    this.suspects = suspects;
    this.peers = peers;
  }

  /** A new group's first leader: campaigns with the next turn. */
  first(peer: Peer): void {
    peer.campaign();
    this.plan({ peer, dueTick: this.host.tick + rankTicks, lostHost: 0, attemptsLeft: firstLeaderAttempts });
  }

  /** A host is not alive any more, or suspect. */
  hostLost(hostId: number): void {
    const affected: Peer[] = [];
    for (const peer of this.peers.values()) if (peer.hibernation.suffersFrom(hostId)) affected.push(peer);
    this.wakeSoon(hostId, affected);
  }

  /** A host is alive that was not. Groups that were to be woken because it was lost still are. */
  hostBack(hostId: number): void {
    const affected = new Set(this.waking.get(hostId));
    for (const peer of this.peers.values()) if (peer.hibernation.sleepsOver(hostId)) affected.add(peer);
    this.wakeSoon(hostId, [...affected]);
  }

  private wakeSoon(hostId: number, affected: Peer[]): void {
    if (affected.length === 0) return;
    affected.sort((a, b) => a.usedTick - b.usedTick);
    this.waking.set(hostId, affected);
  }

  /** The replica that leads a group was stopped, although its host lives. */
  leaderStopped(peer: Peer): void {
    peer.hibernation.wake(false);
    this.succeed(peer, 0);
  }

  tick(): void {
    if (this.waking.size > 0) this.wakeSlice();
    if (this.planned.length > 0 && !this.host.diskStalled) this.campaignSlice();
  }

  private wakeSlice(): void {
    let room = this.host.options.limits.wakesPerTick;
    for (const [hostId, peers] of this.waking) {
      for (; room > 0 && peers.length > 0; room--) {
        const peer = peers.pop();
        if (peer !== undefined) this.wake(peer, hostId);
      }
      if (peers.length === 0) this.waking.delete(hostId);
    }
  }

  private wake(peer: Peer, hostId: number): void {
    if (peer.stopped) return;
    const isLost = this.isLost(hostId);
    const { hibernation } = peer;
    const isConcerned = hibernation.suffersFrom(hostId) || (!isLost && hibernation.sleepsOver(hostId));
    if (!isConcerned) return;
    hibernation.wake(!isLost);
    if (!peer.isLeader() && isLost) this.succeed(peer, hostId);
  }

  /** Forgets the leader and plans a campaign in turn with the other voters. */
  private succeed(peer: Peer, lostHost: number): void {
    const rank = rankOf(peer, peer.leaderId());
    peer.forgetLeader();
    if (rank < 0) return;
    const wait = this.promiseTicks(peer) + rank * rankTicks + randomInt(this.host.runtime, 0, 1);
    this.plan({ peer, dueTick: this.host.tick + wait, lostHost, attemptsLeft: campaignAttempts });
  }

  private campaignSlice(): void {
    const planned = this.planned;
    this.planned = [];
    let started = 0;
    for (const plan of planned) {
      if (!this.isNeeded(plan)) continue;
      if (plan.dueTick > this.host.tick || started >= this.host.options.limits.earlyCampaignsPerTick) {
        this.planned.push(plan);
        continue;
      }
      started++;
      plan.peer.campaign();
      plan.attemptsLeft--;
      plan.dueTick = this.host.tick + rankTicks;
      if (plan.attemptsLeft > 0) this.planned.push(plan);
    }
  }

  /** Ticks until this replica may vote again, and the others, which heard that leader at about the same time. */
  private promiseTicks(peer: Peer): number {
    const leftMs = peer.core.promiseLeft;
    return leftMs === 0 ? 0 : Math.ceil(leftMs / this.host.options.tickMs) + 1;
  }

  private plan(plan: Planned): void {
    this.planned.push(plan);
  }

  private isNeeded({ peer, lostHost }: Planned): boolean {
    if (peer.stopped || peer.leaderId() !== 0) return false;
    return lostHost === 0 || this.isLost(lostHost);
  }

  private isLost(hostId: number): boolean {
    return !this.liveness.isAlive(hostId) || this.suspects.isSuspect(hostId);
  }
}

/** This voter's place among the voters that are left, rotated by group so that new leaders spread; -1: not a voter. */
function rankOf(peer: Peer, lostLeader: number): number {
  const voters = peer.confState.voters.filter((id) => id !== lostLeader);
  const position = voters.indexOf(peer.replicaId);
  if (position < 0) return -1;
  return (position + (peer.groupId % voters.length)) % voters.length;
}
