import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { DiskOperation } from '../support/memory_disk.js';
import { MemoryDisk } from '../support/memory_disk.js';
import type { VirtualClock } from '../support/virtual_runtime.js';
import { VirtualRuntime } from '../support/virtual_runtime.js';
import type { Name, SimNet } from './net.js';

/** What machines share. */
export interface Surroundings {
  readonly clock: VirtualClock;
  readonly net: SimNet;
  /** Of the placement members that the cluster began with. */
  readonly placementAddresses: readonly string[];
  /** Of those that a process which starts now is told of. */
  placementToAsk(): readonly string[];
  readonly clockDrift: number;
  readonly syncMs: number;
  /** Something happened that a reader of the trace wants to know. */
  note(event: string): void;
  /** A process ended itself although nothing was done to it that allows this. */
  unexpected(error: Error): void;
}

export const diskBytes = 64 * 1024 * 1024;
/** Free space below which a store refuses writes. */
export const diskReserveBytes = 1024 * 1024;
/** How long a supervisor waits before it starts a process that ended. */
const restartAfterMs = 200;
/** How long a disk operation that is no sync takes, in ms. */
const operationMs = 0.05;

/**
 * A machine: a disk, an engine, a clock of its own, and at most one process, which a supervisor starts again when it ended.
 *
 *   down ─boot─▶ booting ─▶ running ─(power cut, kill, fatal error)─▶ down
 *                              └─ pause / resume
 */
export abstract class Machine {
  readonly name: Name;
  protected readonly around: Surroundings;
  protected readonly prng: Prng;
  disk: MemoryDisk;
  engine: MemoryEngine;
  runtime: VirtualRuntime | null = null;
  state: 'down' | 'booting' | 'running' = 'down';
  /** Injected faults that allow the process to end itself. */
  readonly excuses = new Set<'failedSync' | 'fullDisk' | 'damage' | 'joining'>();
  /** How long each sync takes at least, in ms. */
  slowSyncMs = 0;
  private failSyncs = false;

  constructor(name: Name, around: Surroundings, seed: number) {
    this.name = name;
    this.around = around;
    this.prng = new Prng(seed);
    this.disk = this.newDisk();
    this.engine = this.newEngine();
  }

  /** Starts the process. What comes of it later is this machine's business. */
  boot(): void {
    if (this.state !== 'down') return;
    this.state = 'booting';
    const { clockDrift, clock } = this.around;
    const rate = 1 + clockDrift * (2 * this.prng.random() - 1);
    const runtime = new VirtualRuntime(clock, this.prng.nextU32(), { rate, offsetMs: this.prng.int(1, 1_000_000) });
    this.runtime = runtime;
    this.around.note(`${this.name} boots`);
    this.startProcess(runtime).then(
      () => {
        if (this.runtime !== runtime) return;
        this.state = 'running';
        this.around.note(`${this.name} runs`);
      },
      (error: unknown) => this.ended(runtime, error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** The machine loses its power, and with it what was not synced. */
  powerCut(): void {
    if (this.state === 'down') return;
    this.die('loses its power');
    this.disk.powerCut();
    this.engine = this.engine.crash(() => this.prng.random());
  }

  /** The process is killed; the machine stays up, and what was written stays written. */
  kill(): void {
    if (this.state === 'down') return;
    this.die('is killed');
    this.disk.killProcess();
    this.engine = this.engine.crash(() => 1 - Number.EPSILON);
  }

  /** The event loop stands still; time goes on. */
  pause(): void {
    const { runtime } = this;
    if (runtime === null || runtime.isPaused) return;
    runtime.pause();
    this.around.note(`${this.name} stands still`);
    this.around.net.stalled(this.name, runtime);
  }

  resume(): void {
    if (this.runtime?.isPaused !== true) return;
    this.around.note(`${this.name} goes on`);
    this.runtime.resume();
  }

  /** The next sync fails; the process must end itself rather than go on. */
  failNextSync(): void {
    this.failSyncs = true;
    this.excuses.add('failedSync');
  }

  /** Everything on the disk is gone. */
  loseDisk(): void {
    if (this.state !== 'down') this.powerCut();
    this.disk = this.newDisk();
    this.engine = this.newEngine();
    this.excuses.clear();
    this.around.note(`${this.name} loses its disk`);
  }

  /** Makes the process, until it serves. */
  protected abstract startProcess(runtime: VirtualRuntime): Promise<void>;
  /** The process is gone: forget what belonged to it. */
  protected abstract forgetProcess(): void;

  /** For the process: it cannot go on. */
  protected readonly fatal =
    (runtime: VirtualRuntime) =>
    (error: Error): void => {
      // What a process does when it dies must not run in the middle of its own call.
      runtime.nextTurn(() => this.ended(runtime, error));
    };

  private ended(runtime: VirtualRuntime, error: Error): void {
    if (this.runtime !== runtime) return;
    this.around.note(`${this.name} ends itself: ${error.message}`);
    if (this.excuses.size === 0) this.around.unexpected(error);
    const booting = this.state === 'booting';
    this.kill();
    this.excuses.delete('failedSync');
    // A damaged directory that is refused at the start is a case for people: they replace the disk.
    if (booting && this.excuses.has('damage')) this.loseDisk();
    this.around.clock.addTimer(restartAfterMs, () => this.boot());
  }

  private die(how: string): void {
    this.around.note(`${this.name} ${how}`);
    const runtime = must(this.runtime, 'a running process');
    this.state = 'down';
    this.runtime = null;
    this.failSyncs = false;
    runtime.kill();
    this.around.net.leave(this.name);
    this.forgetProcess();
  }

  private newDisk(): MemoryDisk {
    const disk = new MemoryDisk({
      prng: new Prng(this.prng.nextU32()),
      totalBytes: diskBytes,
      latencyMs: (operation) => this.latencyMs(operation),
    });
    disk.intercept = (operation) => {
      if (operation !== 'datasync' || !this.failSyncs) return;
      this.failSyncs = false;
      throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
    };
    return disk;
  }

  private newEngine(): MemoryEngine {
    return new MemoryEngine({ settle: (run) => this.runtime?.after(operationMs, run) });
  }

  private latencyMs(operation: DiskOperation): number {
    if (operation !== 'datasync' && operation !== 'syncDirectory') return operationMs;
    return this.slowSyncMs + this.around.syncMs * this.prng.random();
  }
}
