import { memberIds } from '../raft/conf_state.js';
import { MsgType, newMessage, type Message } from '../raft/message.js';
import { BeatSleep } from '../wire/beat_codec.js';
import type { Beats } from './beats.js';
import type { HostContext } from './context.js';
import type { Peer } from './peer.js';

/** Sends a group's messages: heartbeats ride in the host's beat, everything else in this turn's frame. */
export class Outbox {
  private readonly host: HostContext;
  private readonly beats: Beats;

  constructor(host: HostContext, beats: Beats) {
    this.host = host;
    this.beats = beats;
  }

  send(peer: Peer, message: Message): void {
    const hostId = peer.hostOf(message.to);
    if (hostId === 0 || hostId === this.host.hostId) {
      this.host.counters.messagesDropped++;
      return;
    }
    if (message.type === MsgType.MsgHeartbeat || message.type === MsgType.MsgHeartbeatResp) {
      const urgent = message.context !== 0 && peer.core.readsWait;
      this.beats.add(hostId, peer.groupId, message, peer.hibernation.markOf(message), urgent);
      return;
    }
    if (this.host.transport.sendMessage(hostId, peer.groupId, message)) return;
    this.host.counters.messagesDropped++;
    // The core goes back to probing this follower instead of counting on what was lost.
    if (message.type === MsgType.MsgApp) peer.unreachable(message.to);
  }

  /** Tells the members of a group whose leading replica is stopped here while the host lives on: its life no longer vouches for a leader. */
  leaderStopped(peer: Peer): void {
    for (const id of memberIds(peer.confState)) {
      const hostId = peer.hostOf(id);
      if (hostId === 0 || hostId === this.host.hostId) continue;
      const message = newMessage(MsgType.MsgHeartbeat, peer.replicaId, id);
      message.term = peer.term();
      this.beats.add(hostId, peer.groupId, message, BeatSleep.leaderStopped, true);
    }
    this.host.wake();
  }
}
