import type { Logger } from '../base/logger.js';
import type { Runtime } from '../base/runtime.js';
import type { Engine } from '../engine/engine.js';
import type { RaftLog } from '../raftlog/raft_log.js';
import type { Transport } from '../transport/transport.js';
import type { Budget } from './budget.js';
import type { Counters } from './counters.js';
import type { Deferred } from './deferred.js';
import type { HostCallbacks } from './host.js';
import type { HostLeaseClock } from './lease_clock.js';
import type { MultiRaftOptions } from './options.js';

/** What the parts of one host share. The parts themselves are wired up in multiraft.ts. */
export interface HostContext {
  readonly hostId: number;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly options: MultiRaftOptions;
  readonly log: RaftLog;
  readonly engine: Engine;
  readonly transport: Transport;
  readonly callbacks: HostCallbacks;
  readonly budget: Budget;
  readonly counters: Counters;
  readonly deferred: Deferred;
  readonly leaseClock: HostLeaseClock;
  /** The runtime's, one function for the cores of all groups. */
  readonly random: () => number;
  /** The ticker's count; all deadlines of the host are in it. */
  tick: number;
  /** How long the oldest write that is not on disk has waited, as of this tick, milliseconds; 0: nothing waits. */
  syncAgeMs: number;
  /** The disk has not synced for so long that nothing here should lead (disk_stall.ts). */
  diskStalled: boolean;
  /** The disk has no room for entries of leaders elsewhere. */
  refusesEntries: boolean;
  /** Set once the disk, the engine or an invariant failed: nothing is acknowledged from then on. */
  failed: boolean;
  closed: boolean;
  /** Schedules a turn of the host if none is. */
  wake(): void;
  /** Ends a group whose part of the log turned out to be damaged. */
  quarantine(groupId: number): void;
  /** Latches the failure and reports it once. */
  fail(error: unknown): void;
}

/** True while outcomes may be delivered and disks written. */
export function isRunning(host: HostContext): boolean {
  return !host.failed && !host.closed;
}
