import { randomInt } from '../base/runtime.js';
import type { Beats } from './beats.js';
import type { HostContext } from './context.js';
import type { Peer } from './peer.js';
import type { SuspectHosts } from './suspect_hosts.js';
import type { TickWork } from './ticker.js';

interface Planned {
  readonly peer: Peer;
  dueTick: number;
  /** The host whose loss is the reason; 0: the group is new and this replica was chosen to lead it first. */
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
 * Campaigns before the election timeout: groups whose leader's host is gone or suspect, and new groups. PreVote makes
 * an unneeded one harmless. The replicas of a group take turns by rank, ranks differ from group to
 * group, and no tick starts more than a slice of campaigns, so that losing a host with thousands of leaders is no storm.
 */
export class EarlyCampaigns implements TickWork {
  private readonly host: HostContext;
  private readonly beats: Beats;
  private readonly suspects: SuspectHosts;
  private readonly peers: ReadonlyMap<number, Peer>;
  private planned: Planned[] = [];

  constructor(host: HostContext, beats: Beats, suspects: SuspectHosts, peers: ReadonlyMap<number, Peer>) {
    this.host = host;
    this.beats = beats;
    this.suspects = suspects;
    this.peers = peers;
  }

  /** A new group's first leader: campaigns with the next turn. */
  first(peer: Peer): void {
    peer.campaign();
    this.plan({ peer, dueTick: this.host.tick + rankTicks, lostHost: 0, attemptsLeft: firstLeaderAttempts });
  }

  /** A host is not connected any more, or suspect. */
  hostLost(hostId: number): void {
    for (const peer of this.peers.values()) {
      const leader = peer.leaderId();
      if (leader === 0 || peer.isLeader() || peer.hostOf(leader) !== hostId) continue;
      const rank = rankOf(peer, leader);
      peer.forgetLeader();
      if (rank < 0) continue;
      const wait = this.promiseTicks(peer) + rank * rankTicks + randomInt(this.host.runtime, 0, 1);
      this.plan({ peer, dueTick: this.host.tick + 1 + wait, lostHost: hostId, attemptsLeft: campaignAttempts });
    }
  }

  tick(): void {
    if (this.planned.length === 0 || this.host.diskStalled) return;
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
    return lostHost === 0 || !this.beats.isUp(lostHost) || this.suspects.isSuspect(lostHost);
  }
}

/** This voter's place among the voters that are left, rotated by group so that new leaders spread; -1: not a voter. */
function rankOf(peer: Peer, lostLeader: number): number {
  const voters = peer.confState.voters.filter((id) => id !== lostLeader);
  const position = voters.indexOf(peer.replicaId);
  if (position < 0) return -1;
  return (position + (peer.groupId % voters.length)) % voters.length;
}
