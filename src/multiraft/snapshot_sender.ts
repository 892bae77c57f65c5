import type { Message } from '../raft/message.js';
import type { SnapshotSource } from '../transport/transport.js';
import { isRunning, type HostContext } from './context.js';
import type { StateSnapshot } from './host.js';
import type { Peer } from './peer.js';

interface SendJob {
  readonly peer: Peer;
  readonly message: Message;
}

/**
 * Sends snapshots: a MsgSnap of the core becomes a job that opens a view of the state machine, streams
 * it, and reports to the core how it went. What the core named is only the least position; the snapshot's own is sent.
 *
 * One job per follower of a group, a few at a time over all groups; others queue, and past the queue the
 * core is told of a failure, upon which it asks again after the follower's next sign of life.
 */
export class SnapshotSender {
  private readonly host: HostContext;
  private readonly active = new Set<string>();
  private readonly queue: SendJob[] = [];
  private running = 0;
  private readonly jobs = new Set<Promise<void>>();

  constructor(host: HostContext) {
    this.host = host;
  }

  /** False: the core should not start another one now. */
  get hasRoom(): boolean {
    return this.queue.length < this.host.options.limits.snapshotSendQueue;
  }

  request(peer: Peer, message: Message): void {
    const key = jobKey(peer, message);
    if (!this.hasRoom || this.active.has(key)) {
      peer.snapshotReported(message.to, false);
      return;
    }
    this.active.add(key);
    // Entries from here on are what the follower needs next: the compactor keeps them until it has caught up.
    peer.pins.pin(message.to, peer.appliedIndex);
    this.queue.push({ peer, message });
    this.startNext();
  }

  /** Resolves once running jobs have ended; none starts any more. */
  async close(): Promise<void> {
    this.queue.length = 0;
    await Promise.all(this.jobs);
  }

  private startNext(): void {
    while (this.running < this.host.options.limits.snapshotsSending) {
      const job = this.queue.shift();
      if (job === undefined) return;
      this.running++;
      const done = this.run(job);
      this.jobs.add(done);
      void done.then(() => this.jobs.delete(done));
    }
  }

  private async run(job: SendJob): Promise<void> {
    const { peer, message } = job;
    let ok = false;
    try {
      ok = await this.send(job);
    } catch (error) {
      // The stream broke or the receiver refused: the core will try again.
      this.host.logger.info({ err: error, groupId: peer.groupId, to: message.to }, 'snapshot was not taken');
    }
    this.running--;
    this.active.delete(jobKey(peer, message));
    if (ok) {
      this.host.counters.snapshotsSent++;
      peer.pins.sent(message.to, this.host.runtime.nowMs() + this.host.options.compaction.snapshotPinMs);
    } else {
      peer.pins.unpin(message.to);
    }
    if (!isRunning(this.host)) return;
    // A snapshot of an earlier term does not count for the present leader's bookkeeping.
    peer.snapshotReported(message.to, ok && peer.term() === message.term);
    this.startNext();
  }

  private async send({ peer, message }: SendJob): Promise<boolean> {
    const hostId = peer.hostOf(message.to);
    if (peer.stopped || !peer.isLeader() || hostId === 0 || !this.host.transport.isConnected(hostId)) return false;
    const snapshot = await peer.stateMachine.openSnapshot();
    const source = sourceOf(this.host, peer, message, snapshot);
    try {
      await this.host.transport.sendSnapshot(hostId, source);
    } finally {
      await source.close();
    }
    return true;
  }
}

function sourceOf(host: HostContext, peer: Peer, message: Message, snapshot: StateSnapshot): SnapshotSource {
  const { meta, descriptor, formatVersion } = snapshot;
  let closed: Promise<void> | null = null;
  return {
    head: { groupId: peer.groupId, message: { ...message, snapshot: meta }, descriptor, formatVersion },
    next: () => {
      if (peer.stopped || !isRunning(host)) return Promise.reject(new Error('the group was stopped'));
      return snapshot.next();
    },
    close: () => (closed ??= snapshot.close()),
  };
}

function jobKey(peer: Peer, message: Message): string {
  return `${String(peer.groupId)}:${String(message.to)}`;
}
