import { MsgType, newMessage, type Message } from '../raft/message.js';
import type { BeatSleep, GroupHeartbeat } from '../wire/beat_codec.js';
import type { HostContext } from './context.js';

interface HostBeat {
  heartbeats: GroupHeartbeat[];
  responses: GroupHeartbeat[];
  /** Must leave in this turn: a read round waits for it, or it answers a beat. */
  urgent: boolean;
}

/**
 * The heartbeats of all groups, gathered per host (DESIGN section 4). One beat per interval goes to every
 * connected host, whatever the number of groups; what groups want to say in between waits for it,
 * except read rounds and answers, which leave at the end of the turn, at most one frame per host.
 */
export class Beats {
  private readonly host: HostContext;
  private readonly byHost = new Map<number, HostBeat>();
  private readonly connected = new Set<number>();
  /** When a host that is not connected was last. */
  private readonly lostAtMs = new Map<number, number>();
  private sequence = 0;
  private due = false;

  constructor(host: HostContext) {
    this.host = host;
  }

  peerUp(hostId: number): void {
    this.connected.add(hostId);
    this.lostAtMs.delete(hostId);
  }

  peerDown(hostId: number): void {
    if (this.connected.delete(hostId)) this.lostAtMs.set(hostId, this.host.runtime.nowMs());
    this.byHost.delete(hostId);
  }

  isUp(hostId: number): boolean {
    return this.connected.has(hostId);
  }

  /** True while the host is connected, and for `graceMs` after. */
  wasUpWithin(hostId: number, graceMs: number): boolean {
    if (this.connected.has(hostId)) return true;
    const lostAtMs = this.lostAtMs.get(hostId);
    return lostAtMs !== undefined && this.host.runtime.nowMs() - lostAtMs < graceMs;
  }

  /** Takes a MsgHeartbeat or MsgHeartbeatResp of a group. `urgent`: it cannot wait for the interval to be over; answers never do. */
  add(hostId: number, groupId: number, message: Message, sleep: BeatSleep, urgent: boolean): void {
    let beat = this.byHost.get(hostId);
    if (beat === undefined) {
      beat = { heartbeats: [], responses: [], urgent: false };
      this.byHost.set(hostId, beat);
    }
    const { from, to, term, commit, context } = message;
    const column = { groupId, from, to, term, commit, context, sleep };
    if (message.type === MsgType.MsgHeartbeatResp) {
      beat.responses.push(column);
      beat.urgent = true;
    } else {
      beat.heartbeats.push(column);
      if (urgent) beat.urgent = true;
    }
  }

  /** The interval is over: every connected host gets a beat at the end of this turn. */
  tickBeat(): void {
    this.due = true;
  }

  /** Sends what must leave in this turn. */
  flush(): void {
    if (this.due) {
      this.due = false;
      for (const hostId of this.connected) this.send(hostId, this.byHost.get(hostId));
      this.byHost.clear();
      return;
    }
    if (this.byHost.size === 0) return;
    for (const [hostId, beat] of this.byHost) {
      if (!beat.urgent) continue;
      this.send(hostId, beat);
      this.byHost.delete(hostId);
    }
  }

  private send(hostId: number, beat: HostBeat | undefined): void {
    this.sequence++;
    this.host.counters.beatsSent++;
    this.host.transport.sendBeat(hostId, {
      sequence: this.sequence,
      syncAgeMs: Math.min(Math.round(this.host.syncAgeMs), 0xffff_ffff),
      heartbeats: beat?.heartbeats ?? [],
      responses: beat?.responses ?? [],
    });
  }
}

/** The message that a column of a beat stands for. */
export function heartbeatMessage(
  type: typeof MsgType.MsgHeartbeat | typeof MsgType.MsgHeartbeatResp,
  column: GroupHeartbeat,
): Message {
  const message = newMessage(type, column.from, column.to);
  message.term = column.term;
  message.commit = column.commit;
  message.context = column.context;
  return message;
}
