import { assert, must, unreachable } from '../../src/base/assert.js';
import { ReplicaRole, Shard } from '../../src/gen/skerry/v1/meta.js';
import type { PlacementCommand, ShardPlan } from './commands.js';

/**
 * Commands as they stand in the log:
 *
 *   version u8 ‖ head length u32 ‖ head (JSON) ‖ (part length u32 ‖ part)*
 *
 * The head is the command without its parts: shards (proto; a planned one is a descriptor without ids), or a value.
 */
const commandVersion = 1;

export function encodeCommand(command: PlacementCommand): Buffer {
  switch (command.kind) {
    case 'addShards':
      return frame({ ...command, shards: undefined }, command.shards.map(planToShard).map(encodeShard));
    case 'updateShards':
      return frame({ ...command, shards: undefined }, command.shards.map(encodeShard));
    case 'setMetadata':
      return frame({ ...command, value: undefined }, [command.value]);
    case 'bootstrap':
    case 'registerStore':
    case 'setStoreState':
    case 'createKeyspace':
    case 'abandonKeyspace':
    case 'setKeyspaceRules':
    case 'markKeyspaceReady':
    case 'allocateIds':
    case 'setShardTarget':
    case 'startOperator':
    case 'recordFindings':
    case 'recordOperators':
    case 'buryStores':
    case 'recoverShards':
    case 'deleteMetadata':
    case 'putMember':
    case 'removeMember':
    case 'forgetMember':
      return frame(command, []);
    default:
      return unreachable(command);
  }
}

/** Asserts on bytes that encodeCommand() of this or an earlier version did not make: the log is then not ours. */
export function decodeCommand(bytes: Buffer): PlacementCommand {
  assert(
    bytes[0] === commandVersion,
    () => `placement command of version ${bytes[0] ?? 'none'}; is this member too old?`,
  );
  const headLength = bytes.readUInt32LE(1);
  const head = JSON.parse(bytes.toString('utf8', 5, 5 + headLength)) as PlacementCommand;
  const parts: Buffer[] = [];
  for (let at = 5 + headLength; at < bytes.length;) {
    const length = bytes.readUInt32LE(at);
    parts.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  const shards = (): Shard[] => parts.map((part) => Shard.decode(part));
  if (head.kind === 'addShards') return { ...head, shards: shards().map(shardToPlan) };
  if (head.kind === 'updateShards') return { ...head, shards: shards() };
  // Copied: the table keeps it, and a slice would keep its whole entry.
  if (head.kind === 'setMetadata') return { ...head, value: Buffer.from(must(parts[0], 'a value')) };
  return head;
}

function encodeShard(shard: Shard): Uint8Array {
  return Shard.encode(shard).finish();
}

function frame(head: object, parts: readonly Uint8Array[]): Buffer {
  const headBytes = Buffer.from(JSON.stringify(head), 'utf8');
  const prefix = Buffer.allocUnsafe(5);
  prefix[0] = commandVersion;
  prefix.writeUInt32LE(headBytes.length, 1);
  const all: Uint8Array[] = [prefix, headBytes];
  for (const part of parts) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(part.length, 0);
    all.push(length, part);
  }
  return Buffer.concat(all);
}

function planToShard(plan: ShardPlan): Shard {
  return {
    shardId: 0,
    keyspaceId: 0,
    partitioning: 0,
    startKey: plan.startKey,
    endKey: plan.endKey,
    epoch: undefined,
    replicas: plan.storeIds.map((storeId) => ({ replicaId: 0, storeId, role: ReplicaRole.VOTER })),
    merge: undefined,
  };
}

function shardToPlan(shard: Shard): ShardPlan {
  return {
    startKey: Buffer.from(shard.startKey),
    endKey: Buffer.from(shard.endKey),
    storeIds: shard.replicas.map((r) => r.storeId),
  };
}
