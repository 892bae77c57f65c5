import { findingsPerCommandMax } from '../limits.js';
import type { CommandOutcome, PlacementCommand } from '../state/commands.js';
import type { Verdict } from './verdict.js';

/**
 * Brings what comparisons found into the log, for the next leader: one command at a time, sent again until it got through. What
 * a shard's last comparison found is what counts, so that a shard waits once, however often it was compared.
 */
export class FindingRecorder {
  private readonly waiting = new Map<number, Verdict | null>();
  private sending = false;
  private readonly propose: (command: PlacementCommand) => Promise<CommandOutcome>;
  private readonly failed: (error: unknown) => void;

  constructor(propose: (command: PlacementCommand) => Promise<CommandOutcome>, failed: (error: unknown) => void) {
    this.propose = propose;
    this.failed = failed;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Null: its replicas are equal again. */
  note(shardId: number, verdict: Verdict | null): void {
    this.waiting.set(shardId, verdict);
  }

  /** Sends what waits, unless a command is on its way. */
  flush(): void {
    if (this.sending || this.waiting.size === 0) return;
    this.sending = true;
    const findings = [...this.waiting].slice(0, findingsPerCommandMax);
    this.propose({
      kind: 'recordFindings',
      findings: findings.map(([shardId, verdict]) => ({ shardId, verdict })),
    }).then(
      () => {
        this.sending = false;
        // A later comparison may have come to another result.
        for (const [shardId, verdict] of findings) {
          if (this.waiting.get(shardId) === verdict) this.waiting.delete(shardId);
        }
      },
      (error: unknown) => {
        this.sending = false;
        this.failed(error);
      },
    );
  }
}
