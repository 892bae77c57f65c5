import type { Message } from '../raft/message.js';
import type { LogRecord } from '../raftlog/raft_log.js';
import type { HostContext } from './context.js';
import type { Peer } from './peer.js';
import type { TickWork } from './ticker.js';

/** What waits for one log write: whose it is, and what may be stepped or sent after it. */
interface AppendJob {
  readonly peer: Peer;
  readonly responses: readonly Message[];
}

interface Batch {
  records: LogRecord[];
  /** Owner of the record at the same position. */
  owners: Peer[];
  jobs: AppendJob[];
  bytes: number;
}

/**
 * Turns the groups' MsgStorageAppend of one turn into one write of the shared log.
 *
 *     append() ... append() ─▶ flush(): one log.write ─▶ (synced) ─▶ deliver(): all responses, next turn
 *
 * INV: a response is stepped or sent only after every record that its group had handed out before it is
 * synced. A change of the commit index alone is no reason for a sync (Raft §5.1 keeps commitIndex
 * volatile): it is written with the group's next record, and its responses only wait for what is on its way.
 *
 * A log at its bound takes no entries. Proposals and other leaders' entries are refused well before that; what is under way all the same
 * is held here, in order, until compaction has made room: tick() tries again. Reads, heartbeats and compaction go on meanwhile;
 * a host that holds for long is as one whose disk does not sync (disk_stall.ts), and others lead.
 */
export class LogWriter implements TickWork {
  private readonly host: HostContext;
  private batch: Batch = emptyBatch();
  /** Written, not synced; oldest first. */
  private outstanding: Batch[] = [];
  private synced: Batch[] = [];
  private unsynced = 0;
  /** The log had no room for the first of them; oldest first. */
  private held: Batch[] = [];
  private heldBytes = 0;
  private heldSinceMs = 0;

  constructor(host: HostContext) {
    this.host = host;
  }

  /** True while a response waits for deliver(). */
  get hasSynced(): boolean {
    return this.synced.length > 0;
  }

  /** Bytes of entries written or held, and not synced. */
  get unsyncedBytes(): number {
    return this.unsynced + this.heldBytes;
  }

  /** Since when something waits to be on disk; null: nothing does. */
  get pendingSinceMs(): number | null {
    return this.held.length > 0 ? this.heldSinceMs : this.host.log.pendingSinceMs;
  }

  /**
   * Takes a group's records (none: only the commit index moved, or nothing) with the responses that
   * depend on them and on all earlier ones.
   */
  add(peer: Peer, records: readonly LogRecord[], responses: readonly Message[]): void {
    if (records.length === 0 && peer.unsyncedWrites === 0) {
      this.respond(peer, responses);
      return;
    }
    for (const record of records) {
      this.batch.records.push(record);
      this.batch.owners.push(peer);
      this.batch.bytes += bytesOf(record);
    }
    peer.unsyncedWrites++;
    this.batch.jobs.push({ peer, responses });
    if (this.batch.bytes >= this.host.options.limits.logWriteBytes) this.flush();
  }

  /** Ends the turn: one write for all groups. */
  flush(): void {
    const batch = this.batch;
    if (batch.jobs.length === 0) return;
    this.batch = emptyBatch();
    if (this.held.length === 0 && this.write(batch)) return;
    if (this.held.length === 0) {
      this.heldSinceMs = this.host.runtime.nowMs();
      const { diskBytes, diskBytesMax, liveBytes } = this.host.log.stats();
      this.host.logger.error(
        { diskBytes, diskBytesMax, liveBytes },
        'the Raft log is full: entries wait until compaction has made room',
      );
    }
    this.held.push(batch);
    this.heldBytes += batch.bytes;
  }

  /** Writes what was held, as far as the log has room for it now. */
  tick(): void {
    for (let first = this.held[0]; first !== undefined && this.write(first); first = this.held[0]) {
      this.held.shift();
      this.heldBytes -= first.bytes;
      if (this.held.length === 0) {
        const heldMs = this.host.runtime.nowMs() - this.heldSinceMs;
        this.host.logger.info({ heldMs }, 'the Raft log has room again');
      }
    }
  }

  /** False: the log has no room for it. */
  private write(batch: Batch): boolean {
    const records = this.liveRecords(batch);
    if (records.length === 0) {
      const last = this.outstanding.at(-1);
      // Its jobs wait for the newest write on its way: that one's sync covers all that they depend on.
      if (last !== undefined) last.jobs.push(...batch.jobs);
      else {
        this.synced.push(batch);
        this.host.wake();
      }
      return true;
    }
    if (!this.host.log.takes(records)) return false;
    batch.records = [];
    batch.owners = [];
    this.outstanding.push(batch);
    this.unsynced += batch.bytes;
    this.host.log.write(records).then(
      () => this.onSynced(batch),
      (error: unknown) => this.host.fail(error),
    );
    return true;
  }

  /** Steps and sends what waited for syncs that are done. The turn calls it first. */
  deliver(): void {
    if (this.synced.length === 0) return;
    const batches = this.synced;
    this.synced = [];
    for (const batch of batches) {
      for (const { peer, responses } of batch.jobs) {
        peer.unsyncedWrites--;
        this.respond(peer, responses);
      }
    }
  }

  private onSynced(batch: Batch): void {
    if (this.host.failed) return;
    // Promises of one group commit settle in the order of their writes, and so do batches here.
    const position = this.outstanding.indexOf(batch);
    const done = this.outstanding.splice(0, position + 1);
    for (const each of done) this.unsynced -= each.bytes;
    this.synced.push(...done);
    this.host.wake();
  }

  private respond(peer: Peer, responses: readonly Message[]): void {
    if (peer.stopped) return;
    for (const message of responses) peer.release(message);
  }

  /** A group that was stopped in this turn must not write behind its own drop record. */
  private liveRecords(batch: Batch): LogRecord[] {
    if (!batch.owners.some((peer) => peer.stopped)) return batch.records;
    return batch.records.filter((_, i) => batch.owners[i]?.stopped === false);
  }
}

function emptyBatch(): Batch {
  return { records: [], owners: [], jobs: [], bytes: 0 };
}

function bytesOf(record: LogRecord): number {
  let bytes = 0;
  if (record.kind === 'append') for (const entry of record.entries) bytes += entry.data.length;
  return bytes;
}
