import type { TypedError } from '../../src/base/wire_errors.js';
import { alreadyExists, failedPrecondition, keyspaceNotFound } from '../../src/base/wire_errors.js';
import type { KeyspaceRecord } from './records.js';

/** A keyspace that a command may change, or why it may not. */
export type FoundKeyspace =
  { readonly ok: true; readonly keyspace: KeyspaceRecord } | { readonly ok: false; readonly error: TypedError };

/**
 * The keyspaces, found by id and by name.
 *
 *   planning ──all shards are there──▶ creating ──every shard has a leader──▶ ready
 *      └──given up──▶ (gone, and its name is free)
 */
export class KeyspaceTable {
  private readonly byId = new Map<number, KeyspaceRecord>();
  private readonly idByName = new Map<string, number>();

  get(keyspaceId: number): KeyspaceRecord | undefined {
    return this.byId.get(keyspaceId);
  }

  named(name: string): KeyspaceRecord | undefined {
    return this.byId.get(this.idByName.get(name) ?? 0);
  }

  all(): IterableIterator<KeyspaceRecord> {
    return this.byId.values();
  }

  find(keyspaceId: number): FoundKeyspace {
    const keyspace = this.byId.get(keyspaceId);
    if (keyspace === undefined) return { ok: false, error: keyspaceNotFound('', keyspaceId) };
    return { ok: true, keyspace };
  }

  /** As find(), and a keyspace that has all of its shards is refused. */
  findInPlanning(keyspaceId: number): FoundKeyspace {
    const found = this.find(keyspaceId);
    if (!found.ok || found.keyspace.phase === 'planning') return found;
    return {
      ok: false,
      error: failedPrecondition('KEYSPACE_PLANNED', `keyspace ${keyspaceId} has all of its shards`),
    };
  }

  /** Null: a keyspace may be created under this name. */
  refusalOfName(name: string): TypedError | null {
    return this.idByName.has(name) ? alreadyExists(`keyspace ${JSON.stringify(name)}`) : null;
  }

  put(keyspace: KeyspaceRecord): void {
    this.byId.set(keyspace.keyspaceId, keyspace);
    this.idByName.set(keyspace.name, keyspace.keyspaceId);
  }

  delete({ keyspaceId, name }: KeyspaceRecord): void {
    this.byId.delete(keyspaceId);
    this.idByName.delete(name);
  }
}
