import { AdminCommand } from '../gen/skerry/v1/kv.js';
import { ConfChangeType } from '../raft/conf_change.js';
import { decodeConfChange } from '../raft/conf_change_codec.js';
import type { Entry } from '../raft/message.js';
import { EntryType } from '../raft/message.js';
import { decodeEntryPayload } from '../wire/entry_codec.js';
import type { Mutation } from '../wire/kv_bodies.js';
import { decodeWriteCommand } from '../wire/kv_bodies.js';
import type { InspectedEntry } from './inspect_log.js';

/** One mutation of a write. `key` is the user key. */
export interface InspectedMutation {
  readonly kind: Mutation['kind'];
  readonly key: Buffer;
  /** null: the mutation has no value (it deletes). */
  readonly valueBytes: number | null;
}

/** One command of an entry. `malformed`: bytes that the state machine would refuse, too. */
export type InspectedCommand =
  | {
      readonly kind: 'write';
      /** 0: no session. */
      readonly sessionId: number;
      readonly sequence: number;
      readonly mutations: readonly InspectedMutation[];
    }
  | { readonly kind: 'split'; readonly splitKey: Buffer; readonly newShardId: number }
  | { readonly kind: 'checksum'; readonly checkId: number }
  | {
      readonly kind: 'merge';
      readonly step: 'prepare' | 'commit' | 'forbid' | 'rollback';
      /** 0: not named. */
      readonly otherShardId: number;
    }
  | { readonly kind: 'malformed'; readonly bytes: number; readonly reason: string };

/** What an entry says. */
export type EntryContent =
  | { readonly kind: 'damaged' }
  /** A new leader's entry. */
  | { readonly kind: 'empty' }
  | { readonly kind: 'commands'; readonly commands: readonly InspectedCommand[] }
  /** In words: "AddNode 4". No changes: the joint configuration is left. */
  | { readonly kind: 'confChange'; readonly changes: readonly string[] }
  | { readonly kind: 'malformed'; readonly reason: string };

export interface DecodedEntry {
  readonly index: number;
  /** 0 when the entry is damaged. */
  readonly term: number;
  readonly bytes: number;
  readonly content: EntryContent;
}

/** Decodes an entry of a store's log. Bytes that make no sense are described, never thrown over. */
export function decodeInspected({ index, entry }: InspectedEntry): DecodedEntry {
  if (entry === null) return { index, term: 0, bytes: 0, content: { kind: 'damaged' } };
  return { index, term: entry.term, bytes: entry.data.length, content: contentOf(entry) };
}

function contentOf(entry: Entry): EntryContent {
  if (entry.type !== EntryType.EntryNormal) return confChangeOf(entry);
  if (entry.data.length === 0) return { kind: 'empty' };
  try {
    const commands = decodeEntryPayload(entry.data);
    return { kind: 'commands', commands: commands.map(({ kind, bytes }) => commandOf(kind, bytes)) };
  } catch (error) {
    return { kind: 'malformed', reason: reasonOf(error) };
  }
}

function confChangeOf(entry: Entry): EntryContent {
  const change = decodeConfChange(entry.data);
  if (change === null) return { kind: 'malformed', reason: 'not a membership change' };
  const nameOf = (type: ConfChangeType): string =>
    Object.entries(ConfChangeType).find(([, value]) => value === type)?.[0] ?? String(type);
  return { kind: 'confChange', changes: change.changes.map((c) => `${nameOf(c.type)} ${c.replicaId}`) };
}

function commandOf(kind: 1 | 2, bytes: Buffer): InspectedCommand {
  try {
    return kind === 1 ? writeOf(bytes) : adminOf(bytes);
  } catch (error) {
    return { kind: 'malformed', bytes: bytes.length, reason: reasonOf(error) };
  }
}

function writeOf(bytes: Buffer): InspectedCommand {
  const { sessionId, sequence, mutations } = decodeWriteCommand(bytes);
  return {
    kind: 'write',
    sessionId,
    sequence,
    mutations: mutations.map((m) => ({
      kind: m.kind,
      key: m.key,
      valueBytes: m.kind === 'delete' || m.value === null ? null : m.value.length,
    })),
  };
}

function adminOf(bytes: Buffer): InspectedCommand {
  const { command } = AdminCommand.decode(bytes);
  if (command === undefined) return { kind: 'malformed', bytes: bytes.length, reason: 'an unknown command' };
  if (command.$case === 'checksum') return { kind: 'checksum', checkId: command.value.checkId };
  if (command.$case === 'split') {
    const { splitKey, newShard } = command.value;
    return { kind: 'split', splitKey: Buffer.from(splitKey), newShardId: newShard?.shardId ?? 0 };
  }
  if (command.$case === 'prepareMerge') {
    return { kind: 'merge', step: 'prepare', otherShardId: command.value.target?.shardId ?? 0 };
  }
  if (command.$case === 'commitMerge') {
    return { kind: 'merge', step: 'commit', otherShardId: command.value.source?.shardId ?? 0 };
  }
  return { kind: 'merge', step: command.$case === 'forbidMerge' ? 'forbid' : 'rollback', otherShardId: 0 };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
