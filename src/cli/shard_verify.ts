import { Command, Option } from 'commander';
import type { AdminClient } from '../client/index.js';
import type { ReplicaCheck, VerifyShardResponse } from '../gen/skerry/v1/admin.js';
import { ReplicaCheckState, VerifyOutcome } from '../gen/skerry/v1/admin.js';
import { forEachBounded } from './bounded.js';
import { wholeNumber, withAdmin } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { verifyInFlightMax } from './limits.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { message, printRows } from './output.js';

/** `skerry shard verify`: compares the checksums of a shard's replicas at one log index. */

export interface VerifyView {
  readonly shardId: number;
  readonly outcome: string;
  readonly index: number;
  readonly replicas: readonly {
    readonly replicaId: number;
    readonly storeId: number;
    readonly state: string;
    readonly reason: string;
    /** Hexadecimal; empty: it was not checked. */
    readonly checksum: string;
    readonly rows: number;
    readonly bytes: number;
  }[];
}

export function verifyView({ shardId, outcome, index, replicas }: VerifyShardResponse): VerifyView {
  return { shardId, outcome: nameOfValue(VerifyOutcome, outcome), index, replicas: replicas.map(replicaView) };
}

function replicaView({ state, checksum, ...replica }: ReplicaCheck): VerifyView['replicas'][number] {
  const unchecked = state === ReplicaCheckState.UNCHECKED;
  return {
    ...replica,
    state: nameOfValue(ReplicaCheckState, state),
    checksum: unchecked ? '' : checksum.toString(16).padStart(8, '0'),
  };
}

/** What is worth a person's look: every replica that does not agree, with the reason. */
function exceptions({ replicas }: VerifyView): string {
  const strange = replicas.filter((r) => r.state !== 'agrees');
  if (strange.length === 0) return '-';
  return strange
    .map((r) => `${r.replicaId} on store ${r.storeId}: ${r.state === 'unchecked' ? `unchecked, ${r.reason}` : r.state}`)
    .join('; ');
}

export const verifyColumns: readonly Column<VerifyView>[] = [
  { title: 'SHARD', value: (v) => v.shardId },
  { title: 'OUTCOME', value: (v) => v.outcome.toUpperCase() },
  { title: 'INDEX', value: (v) => (v.index === 0 ? '-' : v.index) },
  {
    title: 'CHECKED',
    value: (v) => `${v.replicas.filter((r) => r.state !== 'unchecked').length}/${v.replicas.length}`,
  },
  { title: 'ROWS', value: (v) => Math.max(0, ...v.replicas.map((r) => r.rows)) },
  { title: 'EXCEPTIONS', value: exceptions },
];

interface Flags {
  readonly all?: true;
  readonly keyspace?: string;
}

/** The shards that the arguments name. */
async function shardsWanted(admin: AdminClient, shard: number | undefined, flags: Flags): Promise<number[]> {
  if (shard !== undefined) return [shard];
  const ids: number[] = [];
  for await (const { route } of admin.listShards(flags.keyspace)) ids.push(route?.shard?.shardId ?? 0);
  return ids;
}

async function verify(shard: number | undefined, flags: Flags, command: Command): Promise<void> {
  const many = flags.all === true || flags.keyspace !== undefined;
  if (many === (shard !== undefined)) {
    throw new CommandError(exitCodes.usage, 'name one shard, or --all, or a --keyspace');
  }
  await withAdmin(command, async (admin) => {
    const views: VerifyView[] = [];
    await forEachBounded(await shardsWanted(admin, shard, flags), verifyInFlightMax, async (id) => {
      views.push(verifyView(await admin.verifyShard(id)));
    });
    views.sort((a, b) => a.shardId - b.shardId);
    await printRows(command, views, verifyColumns);
    conclude(views);
  });
}

function conclude(views: readonly VerifyView[]): void {
  const count = (outcome: string): number => views.filter((v) => v.outcome === outcome).length;
  const [consistent, inconsistent, unchecked] = [count('consistent'), count('inconsistent'), count('unchecked')];
  message(`${consistent} consistent, ${inconsistent} inconsistent, ${unchecked} not fully checked`);
  if (inconsistent > 0) process.exitCode = exitCodes.failure;
  else if (unchecked > 0) process.exitCode = exitCodes.unavailable;
}

export function shardVerifyCommand(): Command {
  return new Command('verify')
    .description('compare the replicas of a shard, or of many, at one log index each')
    .argument('[shard]', 'shard id', wholeNumber(1))
    .option('--all', 'all shards')
    .addOption(new Option('--keyspace <name>', 'all shards of this keyspace').conflicts('all'))
    .addHelpText(
      'after',
      `\nEnds with ${exitCodes.failure} when replicas differ, with ${exitCodes.unavailable} when some could not be checked.`,
    )
    .action(verify);
}
