import { journalBacklogMax, recordsPerCommandMax } from '../limits.js';
import type { CommandOutcome, PlacementCommand } from '../state/commands.js';
import type { Operator } from './operator.js';
import { effectOf, isFinished } from './operator.js';
import type { Clocks } from './operator_record.js';
import { toRecord } from './operator_record.js';

/** Operators that the next leader shall go on with: those that someone asked for or gave up, and those that copy a shard's data. */
export function outlivesLeader({ plan, steps, takingBack }: Operator): boolean {
  return plan.source === 'admin' || takingBack !== null || effectOf(steps).adds.length > 0;
}

/**
 * Brings what happens to operators into the log: each step that one of those that outlive a leader completes, and every end, for the
 * history. One command at a time; what comes meanwhile goes out together. A step that was recorded late, or never, does no
 * harm: steps say how the shard should look, so that a new leader passes over those that are done.
 */
export class OperatorJournal {
  private readonly waiting = new Map<number, Operator>();
  private sending = false;
  private closed = false;
  private readonly propose: (command: PlacementCommand) => Promise<CommandOutcome>;
  private readonly clocks: () => Clocks;
  private readonly failed: (error: unknown) => void;

  constructor(
    propose: (command: PlacementCommand) => Promise<CommandOutcome>,
    clocks: () => Clocks,
    /** A command did not get through; flush() tries again. */
    failed: (error: unknown) => void,
  ) {
    this.propose = propose;
    this.clocks = clocks;
    this.failed = failed;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** It was made, got on, or ended. */
  note(operator: Operator): void {
    if (!outlivesLeader(operator) && !isFinished(operator)) return;
    this.waiting.delete(operator.operatorId);
    this.waiting.set(operator.operatorId, operator);
    if (this.waiting.size > journalBacklogMax) this.dropOldest();
  }

  /** Sends what waits, unless a command is on its way; then that goes on by itself. */
  flush(): void {
    if (this.sending || this.closed || this.waiting.size === 0) return;
    this.sending = true;
    this.sendAll().then(
      () => void (this.sending = false),
      (error: unknown) => {
        this.sending = false;
        this.failed(error);
      },
    );
  }

  /** This member leads no longer: what it did not record is for the next leader to find. */
  close(): void {
    this.closed = true;
    this.waiting.clear();
  }

  private async sendAll(): Promise<void> {
    while (this.waiting.size > 0) {
      const batch = [...this.waiting.values()].slice(0, recordsPerCommandMax);
      const clocks = this.clocks();
      const operators = batch.map((operator) => toRecord(operator, clocks));
      // Removed before: what happens to them from now on is not in the records.
      for (const { operatorId } of batch) this.waiting.delete(operatorId);
      try {
        await this.propose({ kind: 'recordOperators', operators });
      } catch (error) {
        for (const operator of batch) if (!this.closed) this.note(operator);
        throw error;
      }
    }
  }

  /** Of the history: what was recorded as running must be recorded as ended, too. */
  private dropOldest(): void {
    for (const operator of this.waiting.values()) {
      if (outlivesLeader(operator)) continue;
      this.waiting.delete(operator.operatorId);
      return;
    }
  }
}
