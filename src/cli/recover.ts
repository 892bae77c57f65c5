import { Command, InvalidArgumentError } from 'commander';
import type { ShardRecovery, ShardRecoveryStatus, UnrecoverableShard } from '../gen/skerry/v1/recover.js';
import { commonOptions, withAdmin } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import type { Column } from './output.js';
import { message, printJson, printRows } from './output.js';

/** `skerry recover`: shards that lost the majority of their replicas for good. Never done by itself. */

const recoveryColumns: readonly Column<ShardRecovery>[] = [
  { title: 'SHARD', value: (r) => r.shardId },
  { title: 'KEYSPACE', value: (r) => r.keyspaceId },
  { title: 'VOTERS LEFT', value: (r) => `${r.votersLeft}/${r.voters}` },
  { title: 'KEEPS', value: (r) => `replica ${r.replicaId} on store ${r.storeId}` },
  { title: 'LOG ENDS AT', value: (r) => `term ${r.lastTerm} index ${r.lastIndex}` },
  { title: 'LOSES', value: (r) => (r.missingEntriesMin === 0 ? 'unknown' : `${r.missingEntriesMin} entries or more`) },
];

const unrecoverableColumns: readonly Column<UnrecoverableShard>[] = [
  { title: 'SHARD', value: (u) => u.shardId },
  { title: 'KEYSPACE', value: (u) => u.keyspaceId },
  { title: 'NOT RECOVERED', value: (u) => u.reason },
];

const statusColumns: readonly Column<ShardRecoveryStatus>[] = [
  { title: 'SHARD', value: (s) => s.shardId },
  { title: 'REPLICA', value: (s) => s.replicaId },
  { title: 'STORE', value: (s) => s.storeId },
  { title: 'WAITS FOR', value: (s) => (s.detail === '' ? '-' : s.detail) },
];

/** @throws InvalidArgumentError, which commander reports as a usage error */
function storeIds(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError('It must be store ids: 3,4.');
  return text.split(',').map(Number);
}

function deadStoresOption(command: Command): Command {
  return command.requiredOption('--dead-stores <ids>', 'stores that are gone for good: 3,4', storeIds);
}

export function recoverCommand(): Command {
  const plan = deadStoresOption(new Command('plan'))
    .description('show which shards lost their majority, and what would be kept')
    .action((flags: { deadStores: number[] }, command: Command) =>
      withAdmin(command, async (admin) => {
        const found = await admin.planRecovery(flags.deadStores);
        if (commonOptions(command).output === 'json') {
          await printJson(found);
          return;
        }
        await printRows(command, found.shards, recoveryColumns);
        if (found.unrecoverable.length > 0) await printRows(command, found.unrecoverable, unrecoverableColumns);
        message(`plan ${found.planId}: ${found.shards.length} shards, ${found.unrecoverable.length} not recovered`);
        message(
          'what the dead stores alone had acknowledged is lost by it, and they can never come back; to apply it:',
        );
        const flagsAgain = `--dead-stores ${flags.deadStores.join(',')} --plan ${found.planId}`;
        message(`  skerry recover apply ${flagsAgain} --confirm "${found.confirmation}"`);
      }),
    );
  const apply = deadStoresOption(new Command('apply'))
    .description('carry a plan out: remove the dead stores for good, go on from what is left')
    .requiredOption('--plan <id>', 'id of the plan, as `recover plan` printed it')
    .requiredOption('--confirm <text>', 'the sentence that `recover plan` asks for')
    .option('--wait', 'wait until every shard of it is led again')
    .action((flags: { deadStores: number[]; plan: string; confirm: string; wait?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const { deadStores, plan: planId, confirm, wait = false } = flags;
        const { shards, underWay } = await admin.applyRecovery(deadStores, planId, confirm, wait);
        if (commonOptions(command).output === 'json') await printJson({ shards, underWay });
        message(`${shards} shards are recovered, ${underWay} of them under way: see skerry recover status`);
        if (wait && underWay > 0) throw new CommandError(exitCodes.unavailable, `${underWay} shards are not led yet`);
      }),
    );
  const status = new Command('status')
    .description('list the shards that are being recovered')
    .action((_flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => printRows(command, await admin.recoveryStatus(), statusColumns)),
    );
  return new Command('recover')
    .description('bring back shards that lost the majority of their replicas for good')
    .addCommand(plan)
    .addCommand(apply)
    .addCommand(status);
}
