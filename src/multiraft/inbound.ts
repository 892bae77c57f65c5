import { MsgType, type Message } from '../raft/message.js';
import { BeatSleep } from '../wire/beat_codec.js';
import type { Beat, GoneNotice, SnapshotHeadInfo, SnapshotSink, TransportHandlers } from '../transport/transport.js';
import { heartbeatMessage, type Beats } from './beats.js';
import { isRunning, type HostContext } from './context.js';
import type { EarlyCampaigns } from './early_campaigns.js';
import type { Forwarding } from './forwarding.js';
import type { HostLiveness } from './host_liveness.js';
import type { LogWriter } from './log_writer.js';
import type { Peer } from './peer.js';
import type { SnapshotReceiver } from './snapshot_receiver.js';
import type { SuspectHosts } from './suspect_hosts.js';

/** Types that travel in envelopes. Heartbeats come in beats, snapshots on their own streams, the rest is local. */
const travelling: ReadonlySet<MsgType> = new Set([
  MsgType.MsgApp,
  MsgType.MsgAppResp,
  MsgType.MsgVote,
  MsgType.MsgVoteResp,
  MsgType.MsgPreVote,
  MsgType.MsgPreVoteResp,
  MsgType.MsgTimeoutNow,
  MsgType.MsgTransferLeader,
  MsgType.MsgReadIndex,
  MsgType.MsgReadIndexResp,
]);

/** Finds a group's peer for a message, asking the store where there is none. */
export interface PeerDirectory {
  find(groupId: number): Peer | undefined;
  /** Asks callbacks.unknownGroup; null: the message is dropped. */
  findOrMake(fromHost: number, groupId: number, message: Message): Peer | null;
}

/** What arrives from other hosts, handed to mailboxes. Runs on the event loop between turns. */
export class Inbound implements TransportHandlers {
  private readonly host: HostContext;
  private readonly beats: Beats;
  private readonly liveness: HostLiveness;
  private readonly suspects: SuspectHosts;
  private readonly campaigns: EarlyCampaigns;
  private readonly forwarding: Forwarding;
  private readonly receiver: SnapshotReceiver;
  private readonly writer: LogWriter;
  private readonly directory: PeerDirectory;

  constructor(
    host: HostContext,
    writer: LogWriter,
    beats: Beats,
    liveness: HostLiveness,
    suspects: SuspectHosts,
    campaigns: EarlyCampaigns,
    forwarding: Forwarding,
    receiver: SnapshotReceiver,
    directory: PeerDirectory,
  ) {
    this.host = host;
    this.writer = writer;
    this.beats = beats;
    this.liveness = liveness;
    this.suspects = suspects;
    this.campaigns = campaigns;
    this.forwarding = forwarding;
    this.receiver = receiver;
    this.directory = directory;
  }

  peerUp(hostId: number, incarnation: number): void {
    this.beats.peerUp(hostId);
    this.liveness.peerUp(hostId, incarnation);
    this.host.callbacks.peerUp?.(hostId, incarnation);
  }

  peerDown(hostId: number): void {
    this.beats.peerDown(hostId);
    this.suspects.forget(hostId);
    if (!isRunning(this.host)) return;
    this.forwarding.hostLost(hostId);
    this.liveness.peerDown(hostId);
    this.host.callbacks.peerDown?.(hostId);
  }

  message(fromHost: number, groupId: number, message: Message): void {
    if (!isRunning(this.host) || !travelling.has(message.type)) return;
    if (message.entries.length > 0 && this.hasNoRoom()) {
      this.host.counters.messagesDropped++;
      return;
    }
    if (this.isUnheard(fromHost, message)) return;
    const peer = this.peerFor(fromHost, groupId, message);
    if (asksForVote(message)) {
      this.checkStranger(fromHost, groupId, message, peer);
      if (peer?.knows(message.from) === true) this.campaigns.candidateHeard(peer, message);
    }
    peer?.deliver(fromHost, message);
  }

  /** Most groups have nothing to do for a heartbeat but to answer it: that is done here, not in the turn. */
  beat(fromHost: number, beat: Beat): void {
    if (!isRunning(this.host)) return;
    try {
      this.host.leaseClock.stampNow();
      this.takeBeat(fromHost, beat);
    } catch (error) {
      this.host.fail(error);
    }
  }

  private takeBeat(fromHost: number, beat: Beat): void {
    this.liveness.heard(fromHost);
    if (this.suspects.heard(fromHost, beat.syncAgeMs)) this.campaigns.hostLost(fromHost);
    const heartbeats = this.suspects.isSuspect(fromHost) ? [] : beat.heartbeats;
    for (const column of heartbeats) {
      const message = heartbeatMessage(MsgType.MsgHeartbeat, column);
      if (column.sleep === BeatSleep.leaderStopped) this.leaderStopped(column.groupId, message);
      else this.peerFor(fromHost, column.groupId, message)?.deliverBeat(fromHost, message, column.sleep);
    }
    for (const column of beat.responses) {
      const peer = this.directory.find(column.groupId);
      if (peer?.replicaId !== column.to) continue;
      peer.deliverBeat(fromHost, heartbeatMessage(MsgType.MsgHeartbeatResp, column), column.sleep);
    }
  }

  forward(fromHost: number, id: number, payload: Buffer): void {
    if (isRunning(this.host)) this.forwarding.serve(fromHost, id, payload);
  }

  forwardResponse(fromHost: number, id: number, payload: Buffer): void {
    this.forwarding.answered(fromHost, id, payload);
  }

  gone(_fromHost: number, gone: GoneNotice): void {
    if (!isRunning(this.host)) return;
    this.host.callbacks.gone(gone.groupId, gone.replicaId, gone.confVer, gone.version);
  }

  snapshot(fromHost: number, head: SnapshotHeadInfo): Promise<SnapshotSink> {
    return this.receiver.receive(fromHost, head);
  }

  /** The host that sent the beat lives, but its replica of the group, which this one follows, does not. */
  private leaderStopped(groupId: number, message: Message): void {
    const peer = this.directory.find(groupId);
    if (peer?.follows(message) === true) this.campaigns.leaderStopped(peer);
  }

  /** Entries are not taken while the disk or the log is full, or the disk too far behind: their leader sends them again. */
  private hasNoRoom(): boolean {
    if (this.host.refusesEntries || this.host.log.nearlyFull) return true;
    return this.writer.unsyncedBytes >= this.host.options.limits.unsyncedBytes;
  }

  /** Leaders of a suspect host are not listened to, and a host whose disk is stalled takes no leadership. */
  private isUnheard(fromHost: number, message: Message): boolean {
    if (message.type === MsgType.MsgApp) return this.suspects.isSuspect(fromHost);
    return message.type === MsgType.MsgTimeoutNow && this.host.diskStalled;
  }

  /** The peer that a message is for. Replica ids grow and are never used twice: a higher one means ours is outdated. */
  private peerFor(fromHost: number, groupId: number, message: Message): Peer | null {
    const peer = this.directory.find(groupId);
    if (peer?.replicaId === message.to) return peer;
    if (peer !== undefined && message.to < peer.replicaId) return null;
    if (message.type !== MsgType.MsgApp && message.type !== MsgType.MsgHeartbeat) return null;
    return this.directory.findOrMake(fromHost, groupId, message);
  }

  /** A candidate that this replica does not know may have been removed while it was away: the store can tell it so. */
  private checkStranger(fromHost: number, groupId: number, message: Message, peer: Peer | null): void {
    if (peer !== null && (!peer.isInitialized || peer.knows(message.from))) return;
    const epoch = this.host.callbacks.stranger?.(groupId, message) ?? null;
    if (epoch === null) return;
    const { confVer, version } = epoch;
    this.host.transport.sendGone(fromHost, { groupId, replicaId: message.from, confVer, version });
    this.host.wake();
  }
}

function asksForVote(message: Message): boolean {
  return message.type === MsgType.MsgVote || message.type === MsgType.MsgPreVote;
}
