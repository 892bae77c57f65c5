import type { StoreCommand } from '../src/gen/skerry/v1/placement.js';
import { looseCommandsMax } from './limits.js';

type Command = NonNullable<StoreCommand['command']>;

/** Above every id of an operator's command and below those of comparisons, so that answers are told apart. */
const firstId = 2 ** 50;

/**
 * Commands that no operator waits for: creations, destructions. What comes of them shows in later reports; but when a
 * store refuses one, its answer must lead back to what was sent. The last ones are remembered for that.
 */
export class LooseCommands {
  private readonly sent = new Map<number, string>();
  private nextId = firstId;
  private readonly sink: (storeId: number, command: StoreCommand) => void;

  constructor(sink: (storeId: number, command: StoreCommand) => void) {
    this.sink = sink;
  }

  send(storeId: number, command: Command): void {
    const commandId = this.nextId++;
    this.sent.set(commandId, describe(command));
    if (this.sent.size > looseCommandsMax) {
      const [oldest] = this.sent.keys();
      if (oldest !== undefined) this.sent.delete(oldest);
    }
    this.sink(storeId, { commandId, command });
  }

  /** What the command was, for people; null: none of these, or too long ago. */
  describe(commandId: number): string | null {
    return this.sent.get(commandId) ?? null;
  }
}

function describe(command: Command): string {
  switch (command.$case) {
    case 'createShards': {
      const ids = command.value.shards.map((shard) => shard.shardId);
      return `create ${ids.length} shards, ${ids[0] ?? 0} to ${ids.at(-1) ?? 0}`;
    }
    case 'destroyReplica':
      return `destroy replica ${command.value.replicaId} of shard ${command.value.shardId}`;
    default:
      return command.$case;
  }
}
