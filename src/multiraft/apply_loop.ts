import { assert, must } from '../base/assert.js';
import type { EngineBatch } from '../engine/engine.js';
import { EntryType, type Entry, type Message } from '../raft/message.js';
import { decodeEntryPayload } from '../wire/entry_codec.js';
import { ApplyPass, overlayKey, type Overlay } from './apply_pass.js';
import { isRunning, type HostContext } from './context.js';
import type { Command, Readiness } from './host.js';
import { readKeys } from './key_reader.js';
import type { Peer } from './peer.js';
import type { TickWork } from './ticker.js';

const noCommands: readonly Command[] = Object.freeze([]);

/** One MsgStorageApply. */
interface ApplyJob {
  readonly peer: Peer;
  readonly entries: readonly Entry[];
  readonly responses: readonly Message[];
  /** Commands of the entry at the same position; filled in when the job is taken. */
  commands: (readonly Command[])[];
  /** Its one entry wants a pass of its own. */
  isAlone: boolean;
}

/** Stands for a number of entries: the job waits outside of the queue. */
const held = -1;

/**
 * Applies committed entries of all groups:
 *
 *     queue ─▶ take (bounded) ─▶ [one getMany of all keys asked for] ─▶ evaluate into ONE engine batch
 *           ─▶ engine.hold, or engine.write (not awaited) ─▶ outcomes, reads, the core's applied index, effects
 *
 * One pass at a time, in the order of the queue, so that entries of a group are evaluated in log order and a pass
 * reads what earlier passes wrote (the engine's ORDER). A pass is synchronous from evaluation to its
 * effects: nobody sees an applied index whose writes the engine does not have.
 *
 * HELD. Passes over nothing but clients' commands share a batch, until it is large, a tick comes, or the engine is asked for what it
 * must not answer without (engine.ts hold). Then each group's position and sessions are added, as of its last entry in the batch, and it is
 * written: whole or not at all, as before. What is lost of it in a crash the Raft log has. A pass with anything else in it has a batch of its own.
 */
export class ApplyLoop implements TickWork {
  private readonly host: HostContext;
  private queue: ApplyJob[] = [];
  /** Jobs of groups whose next entry has to wait for something outside of the group. */
  private readonly held = new Map<Peer, ApplyJob[]>();
  private reading = false;
  private writing = 0;
  /** The batch that passes share, and the groups whose state machines have not closed it yet. */
  private open: EngineBatch | null = null;
  /** The engine has seen the open batch, and wants it. */
  private isHeld = false;
  private owing: Peer[] = [];
  private evaluating = false;

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
    const job: ApplyJob = {
      peer,
      entries: message.entries,
      responses: message.responses,
      commands: [],
      isAlone: false,
    };
    const waiting = this.held.get(peer);
    if (waiting === undefined) this.queue.push(job);
    else waiting.push(job);
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
    const isPlain = jobs.every(({ commands }) => commands.every(areClients)) && jobs.every(hasOnlyNormal);
    // Before a state machine hears of commands that want a batch of their own: the one before is none of theirs.
    if (!isPlain) this.close();
    const keys = this.keysOf(jobs);
    if (keys === null) {
      this.evaluate(jobs, null, isPlain);
      return;
    }
    this.reading = true;
    readKeys(this.host.engine, this.host.runtime, keys).then(
      (overlay) => {
        this.reading = false;
        if (!isRunning(this.host)) return;
        try {
          this.evaluate(jobs, overlay, isPlain);
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
      const count = this.decode(job, taken.length === 0);
      if (count === held) continue;
      const ends = count < job.entries.length || job.isAlone;
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
   * Decodes the entries of a job that may go into the pass under way, and says how many they are. An entry that wants a pass
   * of its own ends the pass before it and is the only one of the next. `held`: the job left the queue.
   */
  private decode(job: ApplyJob, first: boolean): number {
    const { peer, entries } = job;
    job.commands = [];
    job.isAlone = false;
    for (let at = 0; at < entries.length; at++) {
      const commands = this.commandsOf(peer, must(entries[at], 'an entry'));
      const readiness = peer.stopped ? 'any' : readinessOf(peer, commands);
      if (readiness !== 'any' && (at > 0 || !first)) return at;
      if (readiness === 'later' || readiness === 'never') {
        this.hold(peer, readiness);
        return held;
      }
      job.commands.push(commands);
      if (readiness !== 'alone') continue;
      job.isAlone = true;
      return 1;
    }
    return entries.length;
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
    const { peer, entries, responses, commands, isAlone } = job;
    const behind: ApplyJob = { peer, entries: entries.slice(end), responses, commands: [], isAlone: false };
    peer.applyJobs++;
    this.queue.splice(at, 1, { peer, entries: entries.slice(0, end), responses: [], commands, isAlone }, behind);
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

  private evaluate(jobs: readonly ApplyJob[], overlay: Overlay | null, isPlain: boolean): void {
    assert(isPlain || this.open === null, 'what is not plain has a batch of its own');
    const batch = (this.open ??= this.host.engine.newBatch());
    const pass = new ApplyPass(batch, overlay);
    const touched: Peer[] = [];
    this.evaluating = true;
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
      if (peer.owesPosition) continue;
      peer.owesPosition = true;
      this.owing.push(peer);
    }
    this.evaluating = false;
    const { heldOperations, heldBytes } = this.host.options.limits;
    if (isPlain && batch.count < heldOperations && batch.bytes < heldBytes) {
      this.isHeld = true;
      this.host.engine.hold(batch, this.closeNow);
    } else {
      this.writeOut(batch, pass);
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

  /** A batch is not held for longer than a tick. */
  tick(): void {
    this.close();
  }

  private readonly closeNow = (): void => this.close();

  private close(): void {
    if (this.open === null) return;
    const pass = new ApplyPass(this.open, null);
    this.writeOut(this.open, pass);
    pass.runEffects();
  }

  /** Has the groups in the open batch add what they write once per batch, and writes it. */
  private writeOut(batch: EngineBatch, pass: ApplyPass): void {
    assert(!this.evaluating, 'a batch is not written in the middle of a pass');
    this.open = null;
    const { owing } = this;
    this.owing = [];
    for (const peer of owing) {
      peer.owesPosition = false;
      peer.stateMachine.finishBatch(pass);
    }
    this.host.counters.applyBatches++;
    // One that is held is written even if there is nothing in it, as when its groups are just being destroyed.
    if (batch.count === 0 && !this.isHeld) return;
    this.isHeld = false;
    this.writing++;
    this.host.engine.write(batch).then(
      () => {
        this.writing--;
        if (this.queue.length > 0) this.host.wake();
      },
      (error: unknown) => this.host.fail(error),
    );
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

/** Clients' commands are nearly all there are. */
function areClients(commands: readonly Command[]): boolean {
  for (const { kind } of commands) if (kind !== 1) return false;
  return true;
}

function hasOnlyNormal({ entries }: ApplyJob): boolean {
  for (const { type } of entries) if (type !== EntryType.EntryNormal) return false;
  return true;
}

function readinessOf(peer: Peer, commands: readonly Command[]): Readiness {
  if (areClients(commands)) return 'any';
  return peer.stateMachine.readiness?.(commands) ?? 'any';
}
