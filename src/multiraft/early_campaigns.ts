import type { Message } from '../raft/message.js';
import type { HostContext } from './context.js';
import type { HostLiveness } from './host_liveness.js';
import type { Peer } from './peer.js';
import type { SuspectHosts } from './suspect_hosts.js';
import type { TickWork } from './ticker.js';

interface Planned {
  dueTick: number;
  /** The host whose loss is the reason; 0: the group has no leader for another reason, being new for one. */
  readonly lostHost: number;
  attemptsLeft: number;
  /** Ticks from one attempt to the next: the other replicas have their turns in between. */
  readonly everyTicks: number;
}

/** What the loss of a host takes: `slices` ticks in which this host wakes its groups, or has all of them campaign. Others take as long. */
interface Loss {
  readonly tick: number;
  readonly slices: number;
}

/** What the loss of a host or its return set off, and has not happened yet. */
interface Waking {
  /** Those used last at the end. */
  readonly peers: Peer[];
  readonly loss: Loss;
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
 *     candidate heard ─▶ its group is woken at once, and the own campaign put off
 *
 * PreVote makes an unneeded campaign harmless, but it is not free, and two at a time split the vote: then both wait for an election
 * timeout. So the replicas of a group take turns by rank. Ranks differ from group to group; the first has its turn as soon as it is
 * woken, and since hosts wake their groups in different orders, the next only once all of the first can have had theirs. New groups have
 * their first campaigns from here as well.
 */
export class EarlyCampaigns implements TickWork {
  private readonly host: HostContext;
  private readonly liveness: HostLiveness;
  private readonly suspects: SuspectHosts;
  private readonly peers: ReadonlyMap<number, Peer>;
  private readonly planned = new Map<Peer, Planned>();
  /** Groups that wait to be woken because of a host. */
  private readonly waking = new Map<number, Waking>();

  constructor(host: HostContext, liveness: HostLiveness, suspects: SuspectHosts, peers: ReadonlyMap<number, Peer>) {
    this.host = host;
    this.liveness = liveness;
    this.suspects = suspects;
    this.peers = peers;
  }

  /** A new group's first leader: campaigns with the next turn. */
  first(peer: Peer): void {
    peer.campaign();
    const dueTick = this.host.tick + rankTicks;
    this.planned.set(peer, { dueTick, lostHost: 0, attemptsLeft: firstLeaderAttempts, everyTicks: rankTicks });
  }

  /** A host is not alive any more, or suspect. */
  hostLost(hostId: number): void {
    const affected: Peer[] = [];
    for (const peer of this.peers.values()) if (peer.hibernation.suffersFrom(hostId)) affected.push(peer);
    this.wakeSoon(hostId, affected);
  }

  /** A host is alive that was not. Groups that were to be woken because it was lost still are. */
  hostBack(hostId: number): void {
    const affected = new Set(this.waking.get(hostId)?.peers);
    for (const peer of this.peers.values()) if (peer.hibernation.sleepsOver(hostId)) affected.add(peer);
    this.wakeSoon(hostId, [...affected]);
  }

  private wakeSoon(hostId: number, affected: Peer[]): void {
    if (affected.length === 0) return;
    affected.sort((a, b) => a.usedTick - b.usedTick);
    const { wakesPerTick, earlyCampaignsPerTick } = this.host.options.limits;
    const slices = Math.ceil(affected.length / Math.min(wakesPerTick, earlyCampaignsPerTick));
    this.waking.set(hostId, { peers: affected, loss: this.lossOf(slices) });
  }

  /** The replica that leads a group was stopped, although its host lives. */
  leaderStopped(peer: Peer): void {
    peer.hibernation.wake(false);
    this.succeed(peer, 0, this.lossOf(1));
  }

  /** A member asks for a vote. It has it at once if the leader's host is lost, and time to win, if it can, before this one campaigns. */
  candidateHeard(peer: Peer, { index, logTerm }: Message): void {
    const leaderHost = peer.leaderId() === 0 ? 0 : peer.hostOf(peer.leaderId());
    if (leaderHost !== 0 && !peer.isLeader()) {
      this.wake(peer, leaderHost, this.waking.get(leaderHost)?.loss ?? this.lossOf(1));
    }
    const plan = this.planned.get(peer);
    if (plan === undefined || !peer.core.isUpToDate(index, logTerm)) return;
    plan.dueTick = Math.max(plan.dueTick, this.host.tick + rankTicks);
  }

  tick(): void {
    if (this.waking.size > 0) this.wakeSlice();
    if (this.planned.size > 0 && !this.host.diskStalled) this.campaignSlice();
  }

  private wakeSlice(): void {
    let room = this.host.options.limits.wakesPerTick;
    for (const [hostId, { peers, loss }] of this.waking) {
      for (; room > 0 && peers.length > 0; room--) {
        const peer = peers.pop();
        if (peer !== undefined) this.wake(peer, hostId, loss);
      }
      if (peers.length === 0) this.waking.delete(hostId);
    }
  }

  private wake(peer: Peer, hostId: number, loss: Loss): void {
    if (peer.stopped) return;
    const isLost = this.isLost(hostId);
    const { hibernation } = peer;
    const isConcerned = hibernation.suffersFrom(hostId) || (!isLost && hibernation.sleepsOver(hostId));
    if (!isConcerned) return;
    hibernation.wake(!isLost);
    if (!peer.isLeader() && isLost) this.succeed(peer, hostId, loss);
  }

  /** Forgets the leader and plans a campaign in turn with the other voters. */
  private succeed(peer: Peer, lostHost: number, loss: Loss): void {
    const { host } = this;
    const voters = this.votersLeft(peer);
    const rank = rankOf(peer, voters);
    peer.forgetLeader();
    if (rank < 0) return;
    const promised = this.promiseTicks(peer);
    let dueTick = host.tick + promised;
    // The first of groups that sleep are done once all are woken; where promises end, all at once, they take as long from there.
    if (rank > 0) {
      const firstDone = Math.max(dueTick + (promised > 0 ? loss.slices : 0), loss.tick + loss.slices);
      dueTick = firstDone + rank * rankTicks;
    }
    if (!host.diskStalled) peer.core.postponeElection(dueTick - host.tick);
    // Should two have campaigned at once all the same, they do not again.
    const everyTicks = (voters.length + rank) * rankTicks;
    this.planned.set(peer, { dueTick, lostHost, attemptsLeft: campaignAttempts, everyTicks });
  }

  /** Those that can take over: neither the leader that is gone nor who else is on a host that is lost. */
  private votersLeft(peer: Peer): number[] {
    const leaderId = peer.leaderId();
    const isThere = (id: number): boolean => {
      const hostId = peer.hostOf(id);
      return id === peer.replicaId || hostId === 0 || !this.isLost(hostId);
    };
    return peer.confState.voters.filter((id) => id !== leaderId && isThere(id));
  }

  private lossOf(slices: number): Loss {
    // Past that a group does not wait for others' slices: its own timer would have fired.
    return { tick: this.host.tick, slices: Math.min(slices, 2 * this.host.options.electionTicks) };
  }

  private campaignSlice(): void {
    const { tick, options } = this.host;
    let room = options.limits.earlyCampaignsPerTick;
    for (const [peer, plan] of [...this.planned]) {
      if (!this.isNeeded(peer, plan)) {
        this.planned.delete(peer);
        // What was planned is off: its own timer runs as it always does. A new leader has had it start anew already.
        if (!peer.stopped && peer.leaderId() === 0) peer.core.postponeElection(0);
        continue;
      }
      if (plan.dueTick > tick || room === 0) continue;
      room--;
      peer.campaign();
      plan.attemptsLeft--;
      plan.dueTick = tick + plan.everyTicks;
      this.planned.delete(peer);
      // At the end: the first attempts of others come before the second one of this.
      if (plan.attemptsLeft > 0) this.planned.set(peer, plan);
    }
  }

  /** Ticks until this replica may vote again, and the others, which heard that leader at about the same time. */
  private promiseTicks(peer: Peer): number {
    const leftMs = peer.core.promiseLeft;
    return leftMs === 0 ? 0 : Math.ceil(leftMs / this.host.options.tickMs) + 1;
  }

  private isNeeded(peer: Peer, { lostHost }: Planned): boolean {
    if (peer.stopped || peer.leaderId() !== 0) return false;
    return lostHost === 0 || this.isLost(lostHost);
  }

  private isLost(hostId: number): boolean {
    return !this.liveness.isAlive(hostId) || this.suspects.isSuspect(hostId);
  }
}

/** This voter's place among the voters that are left, rotated by group so that new leaders spread; -1: not a voter. */
function rankOf(peer: Peer, voters: readonly number[]): number {
  const position = voters.indexOf(peer.replicaId);
  if (position < 0) return -1;
  return (position + (peer.groupId % voters.length)) % voters.length;
}
