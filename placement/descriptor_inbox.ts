import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { descriptorBacklogMax, shardsPerCommandMax } from './limits.js';
import type { CommandOutcome, PlacementCommand } from './state/commands.js';

/**
 * Reported descriptors that are newer than the state, on their way into the log: one command per chunk, one round at a
 * time, so that what arrives during a round goes out together. A descriptor stays until its command was
 * applied, because stores report a change once.
 */
export class DescriptorInbox {
  private readonly waiting = new Map<number, Shard>();
  private sending = false;
  private readonly propose: (command: PlacementCommand) => Promise<CommandOutcome>;
  private readonly failed: (error: unknown) => void;

  constructor(
    propose: (command: PlacementCommand) => Promise<CommandOutcome>,
    /** A round did not get through; flush() tries again. */
    failed: (error: unknown) => void,
  ) {
    this.propose = propose;
    this.failed = failed;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** False: the backlog is full; the store's next session brings it again. */
  add(shard: Shard): boolean {
    if (this.waiting.size >= descriptorBacklogMax) return false;
    this.waiting.set(shard.shardId, shard);
    return true;
  }

  /** Sends what waits, unless a round is running; that one goes on by itself. */
  flush(): void {
    if (this.sending || this.waiting.size === 0) return;
    this.sending = true;
    this.sendAll().then(
      () => void (this.sending = false),
      (error: unknown) => {
        this.sending = false;
        this.failed(error);
      },
    );
  }

  private async sendAll(): Promise<void> {
    while (this.waiting.size > 0) {
      const shards: Shard[] = [];
      for (const shard of this.waiting.values()) {
        if (shards.length === shardsPerCommandMax) break;
        shards.push(shard);
      }
      await this.propose({ kind: 'updateShards', shards });
      for (const shard of shards) {
        // A newer one may have come in meanwhile.
        if (this.waiting.get(shard.shardId) === shard) this.waiting.delete(shard.shardId);
      }
    }
  }
}
