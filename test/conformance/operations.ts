import { ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfChangeSingle } from '../../src/raft/conf_change.js';

const types = new Map<string, ConfChangeType>([
  ['v', ConfChangeType.AddNode],
  ['l', ConfChangeType.AddLearnerNode],
  ['r', ConfChangeType.RemoveNode],
  ['u', ConfChangeType.UpdateNode],
]);

/** `v1 l2 r3 u4` (FORMAT.md, propose-conf-change). */
export function parseOperations(input: string): ConfChangeSingle[] {
  const words = input.split(/\s+/).filter((word) => word !== '');
  return words.map((word) => {
    const type = types.get(word.slice(0, 1));
    const replicaId = Number(word.slice(1));
    if (type === undefined || !Number.isSafeInteger(replicaId)) throw new Error(`unknown operation: ${word}`);
    return { type, replicaId };
  });
}
