import { invalidArgument, placementUnavailable } from '../../src/base/wire_errors.js';
import type {
  MetadataEntry as WireEntry,
  MetadataListRequest,
  MetadataServer,
} from '../../src/gen/skerry/v1/metadata.js';
import { MetadataService } from '../../src/gen/skerry/v1/metadata.js';
import {
  leaderWaitMs,
  metadataKeyBytesMax,
  metadataPageBytesMax,
  metadataPageDefault,
  metadataPageMax,
  metadataValueBytesMax,
} from '../limits.js';
import type { PlacementMember } from '../placement_member.js';
import type { MetadataEntry, MetadataTable } from '../state/metadata_table.js';
import { WireFault } from '../wire_fault.js';
import type { CallContext } from './unary.js';
import { atLeader, local } from './unary.js';

/** Configuration and service discovery: the leader writes, every member reads. */
export function metadataService(member: PlacementMember): MetadataServer {
  const methods = MetadataService;
  return {
    set: atLeader(
      member,
      methods.set,
      async ({ key, value, ifVersion }) => {
        checkKey(key);
        checkValue(value);
        const command = { kind: 'setMetadata', key, value: Buffer.from(value), ifVersion } as const;
        return { version: await member.proposer.proposeOnce(command) };
      },
      'once',
    ),
    delete: atLeader(
      member,
      methods.delete,
      async ({ key, ifVersion }) => {
        checkKey(key);
        return { existed: (await member.proposer.proposeOnce({ kind: 'deleteMetadata', key, ifVersion })) === 1 };
      },
      'once',
    ),
    get: local(member, methods.get, async ({ key, stale }, ctx) => {
      checkKey(key);
      const entry = (await tableOf(ctx, stale)).get(key);
      return { entry: entry === undefined ? undefined : entryToWire(entry, false) };
    }),
    exists: local(member, methods.exists, async ({ key, stale }, ctx) => {
      checkKey(key);
      return { exists: (await tableOf(ctx, stale)).get(key) !== undefined };
    }),
    list: local(member, methods.list, async (request, ctx) => page(await tableOf(ctx, request.stale), request)),
  };
}

/** The table with everything that was acknowledged before the call, unless the caller takes what is there. */
async function tableOf(ctx: CallContext, stale: boolean): Promise<MetadataTable> {
  const { member } = ctx;
  if (!stale && !(await member.catchUp(Math.min(leaderWaitMs, ctx.remainingMs())))) {
    throw new WireFault(placementUnavailable(member.leaderAddress()));
  }
  return member.state.metadata;
}

function page(table: MetadataTable, request: MetadataListRequest): { entries: WireEntry[]; more: boolean } {
  const { prefix, after, limit, keysOnly } = request;
  const entriesMax = limit === 0 ? metadataPageDefault : Math.min(limit, metadataPageMax);
  const entries: WireEntry[] = [];
  let bytes = 0;
  for (const entry of table.list(prefix, after)) {
    if (entries.length === entriesMax || bytes >= metadataPageBytesMax) return { entries, more: true };
    entries.push(entryToWire(entry, keysOnly));
    bytes += keysOnly ? 0 : entry.value.length;
  }
  return { entries, more: false };
}

function entryToWire({ key, value, version }: MetadataEntry, keysOnly: boolean): WireEntry {
  return { key, value: keysOnly ? Buffer.alloc(0) : value, version };
}

function checkKey(key: string): void {
  if (key === '') throw new WireFault(invalidArgument('key', 'KEY_EMPTY'));
  const bytes = Buffer.byteLength(key, 'utf8');
  if (bytes <= metadataKeyBytesMax) return;
  throw new WireFault(invalidArgument('key', 'KEY_TOO_LARGE', `a key has ${metadataKeyBytesMax} bytes at most`));
}

function checkValue(value: Uint8Array): void {
  if (value.length <= metadataValueBytesMax) return;
  const message = `a value has ${metadataValueBytesMax} bytes at most; larger ones belong into a keyspace`;
  throw new WireFault(invalidArgument('value', 'VALUE_TOO_LARGE', message));
}
