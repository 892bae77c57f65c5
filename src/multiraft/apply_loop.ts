import { assert, must } from '../base/assert.js';
import { EntryType, type Entry, type Message } from '../raft/message.js';
import { decodeEntryPayload } from '../wire/entry_codec.js';
import { ApplyPass, overlayKey, type Overlay } from './apply_pass.js';
import { isRunning, type HostContext } from './context.js';
import type { Command, Readiness } from './host.js';
import { readKeys } from './key_reader.js';
import type { Peer } from './peer.js';

const noCommands: readonly Command[] = Object.freeze([]);

/** One MsgStorageApply. */
interface ApplyJob {
  readonly peer: Peer;
  readonly entries: readonly Entry[];
  readonly responses: readonly Message[];
  /** Commands of the entry at the same position; filled in when the job is taken. */
  commands: (readonly Command[])[];
}

/**
 * Applies committed entries of all groups:
 *
 *     queue ─▶ take (bounded) ─▶ [one getMany of all keys asked for] ─▶ evaluate into ONE engine batch
 *           ─▶ engine.write (not awaited) ─▶ outcomes, reads, the core's applied index, effects
 *
 * One pass at a time, in the order of the queue, so that entries of a group are evaluated in log order and a pass
 * reads what earlier passes wrote (the engine's ORDER). A pass is synchronous from evaluation to its
 * effects: nobody sees an applied index whose writes were not issued.
 */
export class ApplyLoop {
  private readonly host: HostContext;
  private queue: ApplyJob[] = [];
  /** Jobs of groups whose next entry has to wait for something outside of the group. */
  private readonly held = new Map<Peer, ApplyJob[]>();
  private reading = false;
  private writing = 0;

  constructor(host: HostContext) {
    this.host = host;
  }

  get idle(): boolean {
    return this.queue.length === 0 && !this.reading && this.writing === 0;
  }

  /** Takes a MsgStorageApply of a group. The turn runs it. */
  add(peer: Peer, message: Message): void {
    peer.applyJobs++;
    this.host.counters.entriesCommitted += message.entries.length;
    const job: ApplyJob = { peer, entries: message.entries, responses: message.responses, commands: [] };
    const held = this.held.get(peer);
    if (held === undefined) this.queue.push(job);
    else held.push(job);
  }

  /** What had to wait is looked at once more. */
  retryHeld(): void {
    if (this.held.size === 0) return;
    for (const jobs of this.held.values()) this.queue.push(...jobs);
    this.held.clear();
    this.host.wake();
  }

  /** One pass, if there is something to do and the engine is not behind. */
  run(): void {
    if (this.queue.length === 0 || this.reading) return;
    if (this.writing >= this.host.options.limits.applyBatchesInFlight) return;
    const jobs = this.take();
    if (jobs.length === 0) return;
    const keys = this.keysOf(jobs);
    if (keys === null) {
      this.evaluate(jobs, null);
      return;
    }
    this.reading = true;
    readKeys(this.host.engine, this.host.runtime, keys).then(
      (overlay) => {
        this.reading = false;
        if (!isRunning(this.host)) return;
        try {
          this.evaluate(jobs, overlay);
        } catch (error) {
          this.host.fail(error);
        }
      },
      (error: unknown) => this.host.fail(error),
    );
  }

  private take(): ApplyJob[] {
    const { applyBatchBytes, applyBatchEntries } = this.host.options.limits;
    const taken: ApplyJob[] = [];
    let bytes = 0;
    let entries = 0;
    for (;;) {
      const job = this.queue[taken.length];
      if (job === undefined) break;
      if (taken.length > 0 && (bytes >= applyBatchBytes || entries >= applyBatchEntries)) break;
      const found = this.decode(job, taken.length === 0);
      if (found === 'held') continue;
      const { count, ends } = found;
      if (count < job.entries.length) this.cut(job, taken.length, count);
      if (count > 0) taken.push(must(this.queue[taken.length], 'the job, or its part before the cut'));
      if (ends) break;
      entries += job.entries.length;
      for (const entry of job.entries) bytes += entry.data.length;
    }
    this.queue.splice(0, taken.length);
    return taken;
  }

  /**
   * Decodes the entries of a job that may go into the pass under way, and says how many they are and whether the pass ends
   * with them. An entry that wants a pass of its own ends the pass before it and is the only one of the next. `held`: the
   * job left the queue.
   */
  private decode(job: ApplyJob, first: boolean): { readonly count: number; readonly ends: boolean } | 'held' {
    const { peer, entries } = job;
    job.commands = [];
    for (const [at, entry] of entries.entries()) {
      const commands = this.commandsOf(peer, entry);
      const readiness = peer.stopped ? 'any' : readinessOf(peer, commands);
      if (readiness !== 'any' && (at > 0 || !first)) return { count: at, ends: true };
      if (readiness === 'later' || readiness === 'never') {
        this.hold(peer, readiness);
        return 'held';
      }
      job.commands.push(commands);
      if (readiness === 'alone') return { count: 1, ends: true };
    }
    return { count: entries.length, ends: false };
  }

  private hold(peer: Peer, until: 'later' | 'never'): void {
    const jobs = this.queue.filter((job) => job.peer === peer);
    this.queue = this.queue.filter((job) => job.peer !== peer);
    if (until === 'later') this.held.set(peer, jobs);
    else peer.damaged();
  }

  /** Makes two jobs of one. Who waits for it hears when the second is done. */
  private cut(job: ApplyJob, at: number, end: number): void {
    if (end === 0) return;
    const { peer, entries, responses, commands } = job;
    const behind: ApplyJob = { peer, entries: entries.slice(end), responses, commands: [] };
    peer.applyJobs++;
    this.queue.splice(at, 1, { peer, entries: entries.slice(0, end), responses: [], commands }, behind);
  }

  private commandsOf(peer: Peer, entry: Entry): readonly Command[] {
    if (entry.type !== EntryType.EntryNormal || entry.data.length === 0) return noCommands;
    // The proposer still has what it encoded: the same commands, without decoding them again.
    return peer.proposedCommands(entry.index, entry.term) ?? decodeEntryPayload(entry.data);
  }

  /** The keys to read before evaluation, each once; null when no state machine wants any. */
  private keysOf(jobs: readonly ApplyJob[]): readonly Buffer[] | null {
    let wanted: Map<string, Buffer> | null = null;
    for (const { peer, commands } of jobs) {
      if (peer.stopped) continue;
      for (const list of commands) {
        const keys = list.length === 0 ? null : peer.stateMachine.keysToRead(list);
        if (keys === null) continue;
        wanted ??= new Map();
        for (const key of keys) wanted.set(overlayKey(key), key);
      }
    }
    return wanted === null ? null : [...wanted.values()];
  }

  private evaluate(jobs: readonly ApplyJob[], overlay: Overlay | null): void {
    const batch = this.host.engine.newBatch();
    const pass = new ApplyPass(batch, overlay);
    const touched: Peer[] = [];
    for (const job of jobs) {
      const peer = job.peer;
      if (peer.stopped) continue;
      if (!peer.inPass) {
        peer.inPass = true;
        touched.push(peer);
      }
      this.evaluateJob(job, pass);
    }
    for (const peer of touched) {
      peer.inPass = false;
      peer.stateMachine.finishBatch(pass);
    }
    this.host.counters.applyBatches++;
    if (batch.count > 0) {
      this.writing++;
      this.host.engine.write(batch).then(
        () => {
          this.writing--;
          if (this.queue.length > 0) this.host.wake();
        },
        (error: unknown) => this.host.fail(error),
      );
    }
    for (const { peer, responses } of jobs) {
      peer.applyJobs--;
      for (const message of responses) peer.release(message);
    }
    pass.deliverOutcomes();
    for (const peer of touched) peer.appliedAdvanced();
    pass.runEffects();
    this.host.wake();
  }

  private evaluateJob(job: ApplyJob, pass: ApplyPass): void {
    const peer = job.peer;
    for (let i = 0; i < job.entries.length; i++) {
      const entry = job.entries[i];
      const commands = job.commands[i];
      assert(entry !== undefined && commands !== undefined, 'a job has commands for each entry');
      // What follows a replica's own removal is not its business any more; its data may already be gone.
      if (peer.removed) return;
      peer.applyEntry(entry, commands, pass);
      this.host.counters.entriesApplied++;
    }
  }
}

function readinessOf(peer: Peer, commands: readonly Command[]): Readiness {
  // Clients' commands, which are nearly all of them, need no look.
  if (!commands.some((command) => command.kind === 2)) return 'any';
  return peer.stateMachine.readiness?.(commands) ?? 'any';
}
