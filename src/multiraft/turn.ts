import type { ApplyLoop } from './apply_loop.js';
import type { Beats } from './beats.js';
import { isRunning, type HostContext } from './context.js';
import type { LogWriter } from './log_writer.js';
import type { Peer } from './peer.js';

/**
 * The dirty set and the turn (the picture is in index.ts). At most one turn is scheduled at a time; what
 * comes in while one runs makes the next.
 */
export class Turn {
  private readonly host: HostContext;
  private readonly writer: LogWriter;
  private readonly beats: Beats;
  private readonly apply: ApplyLoop;
  private dirty: Peer[] = [];
  private spare: Peer[] = [];
  private scheduled = false;
  private started = false;

  constructor(host: HostContext, writer: LogWriter, beats: Beats, apply: ApplyLoop) {
    this.host = host;
    this.writer = writer;
    this.beats = beats;
    this.apply = apply;
  }

  /** Turns run from now on; groups that became dirty before have their first one. */
  start(): void {
    this.started = true;
    this.wake();
  }

  markDirty(peer: Peer): void {
    if (!peer.dirty) {
      peer.dirty = true;
      this.dirty.push(peer);
    }
    this.wake();
  }

  wake(): void {
    if (this.scheduled || !this.started || !isRunning(this.host)) return;
    this.scheduled = true;
    this.host.runtime.nextTurn(() => {
      this.scheduled = false;
      if (!isRunning(this.host)) return;
      try {
        this.run();
      } catch (error) {
        this.host.fail(error);
      }
    });
  }

  /**
   * ORDER. Acknowledgements of synced writes first, so that what they commit is in this turn's Ready. The log's write
   * before the frames: both only start here, and the disk takes longer. Applying last: frames need not wait for it.
   */
  private run(): void {
    this.host.counters.turns++;
    this.host.leaseClock.stampNow();
    // The log may have found damage by itself; a damaged group must not append behind what was lost.
    for (const groupId of this.host.log.damaged) this.host.quarantine(groupId);
    this.writer.deliver();
    const dirty = this.dirty;
    this.dirty = this.spare;
    for (const peer of dirty) peer.run();
    dirty.length = 0;
    this.spare = dirty;
    this.writer.flush();
    this.beats.flush();
    this.host.transport.flush();
    this.apply.run();
  }
}
