import { assert } from '../base/assert.js';
import type { HardState, Message, SnapshotMeta } from '../raft/message.js';
import type { LogRecord } from '../raftlog/raft_log.js';
import type { Peer } from './peer.js';
import type { PeerParts } from './peer_parts.js';
import type { StagedForInstall } from './snapshot_installer.js';

/**
 * One group's way to the shared log: its MsgStorageAppends become log records, snapshots are installed in between.
 *
 *     append ─▶ records ─▶ log writer
 *     append with a snapshot ─▶ state machine installs, durably ─▶ reset record ─▶ log writer
 *                               (later appends wait)
 *
 * INV: the records of one group reach the log in the order of its Readys.
 */
export class Appends {
  private readonly peer: Peer;
  private readonly parts: PeerParts;
  /** What the log holds or will hold once what was handed to it is written; the commit may run ahead of it. */
  private hardState: HardState;
  private commitUnwritten = false;
  /** Came while a snapshot was being installed. */
  private waiting: Message[] = [];
  private staged: StagedForInstall | null = null;
  private installing: Promise<void> | null = null;

  constructor(peer: Peer, parts: PeerParts, hardState: HardState | null) {
    this.peer = peer;
    this.parts = parts;
    this.hardState = hardState ?? { term: 0, vote: 0, commit: 0 };
  }

  /** True while a snapshot is staged for this group or being installed: it takes no other. */
  get hasSnapshot(): boolean {
    return this.staged !== null || this.installing !== null;
  }

  get isInstalling(): boolean {
    return this.installing !== null;
  }

  stage(staged: StagedForInstall): void {
    assert(!this.hasSnapshot, 'one snapshot at a time');
    this.staged = staged;
  }

  /**
   * Gives a staged snapshot to the core once everything handed out before is applied, so that the state
   * machine can be asked and told to install in one go. Returns what was offered, for settleOffer().
   */
  offerStaged(): StagedForInstall | null {
    const { staged, peer } = this;
    if (staged === null || peer.applyJobs > 0 || this.installing !== null) return null;
    const accepts = this.parts.host.callbacks.acceptSnapshot?.(peer.groupId, staged.head) ?? true;
    if (accepts) peer.core.step(staged.head.message);
    return staged;
  }

  /** The core has had its Ready: a snapshot that was offered and not taken is not wanted. */
  settleOffer(offered: StagedForInstall | null): void {
    if (offered !== null && this.staged === offered) this.discardStaged();
  }

  /** Takes a MsgStorageAppend. */
  append(message: Message): void {
    if (this.installing !== null) {
      this.waiting.push(message);
      return;
    }
    if (message.snapshot === null) {
      this.write(message, null);
      return;
    }
    const { staged, peer } = this;
    assert(
      staged !== null && staged.head.message.snapshot?.index === message.snapshot.index,
      'the core installs the snapshot that it was given',
    );
    assert(peer.applyJobs === 0, 'nothing is being applied below a snapshot');
    this.staged = null;
    this.installing = this.parts.installer.install(peer, message.snapshot, staged, () => this.installed(message));
  }

  /** The state machine holds the snapshot, on disk. Only now may the log forget what it replaces. */
  private installed(message: Message): void {
    const meta = message.snapshot;
    assert(meta !== null, 'an install has a snapshot');
    this.installing = null;
    if (this.peer.stopped) return;
    this.peer.restored(meta);
    this.write(message, meta);
    const { waiting } = this;
    this.waiting = [];
    for (const later of waiting) this.append(later);
    this.peer.skippedTo(meta.index);
  }

  /** Makes the log records of one MsgStorageAppend; with `restored`, the log starts anew after that snapshot. */
  private write(message: Message, restored: SnapshotMeta | null): void {
    const before = this.hardState;
    const { groupId } = this.peer;
    if (message.term !== 0 || message.vote !== 0 || message.commit !== 0) {
      this.hardState = { term: message.term, vote: message.vote, commit: message.commit };
      this.commitUnwritten = true;
    }
    const { term, vote, commit } = this.hardState;
    const records: LogRecord[] = [];
    if (restored !== null) {
      this.hardState = { term, vote, commit: Math.max(commit, restored.index) };
      const { index } = restored;
      records.push({ kind: 'reset', groupId, index, term: restored.term, hardState: this.hardState });
      this.commitUnwritten = false;
    }
    const promised = term !== before.term || vote !== before.vote;
    if (message.entries.length > 0 || (promised && restored === null)) {
      const hardState = this.commitUnwritten ? this.hardState : null;
      records.push({ kind: 'append', groupId, hardState, entries: message.entries });
      this.commitUnwritten = false;
    }
    this.parts.writer.add(this.peer, records, message.responses);
  }

  /** The group ends: nothing waits any more. Resolves once a running install has ended. */
  async stop(): Promise<void> {
    this.waiting = [];
    this.discardStaged();
    await this.installing;
  }

  private discardStaged(): void {
    const { staged } = this;
    this.staged = null;
    if (staged !== null) this.parts.installer.discard(staged);
  }
}
