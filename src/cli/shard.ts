import { Command, Option } from 'commander';
import type { Operator } from '../gen/skerry/v1/admin.js';
import type { AdminClient } from '../client/index.js';
import { wholeNumber, withAdmin } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { operatorColumns, operatorView } from './operator.js';
import { message, printOne, printRows } from './output.js';
import { shardVerifyCommand } from './shard_verify.js';
import { shardColumns, shardDetailColumns, shardView } from './shard_view.js';
import { whyCommand } from './why.js';

const shardId = ['<shard>', 'shard id', wholeNumber(1)] as const;

function storeOption(flag: string, description: string): Option {
  return new Option(flag, description).argParser(wholeNumber(1)).makeOptionMandatory();
}

/** Flags of the commands that change a shard; each command has those that it declares. */
interface ChangeFlags {
  readonly wait: boolean;
  readonly store: number;
  readonly from: number;
  readonly to: number;
  readonly into: number;
  readonly learner?: boolean;
  readonly at?: string;
  readonly atHex?: string;
}

/** A command that makes an operator: prints it, and fails when it was waited for and did not succeed. */
function changing(
  name: string,
  description: string,
  change: (admin: AdminClient, shard: number, flags: ChangeFlags) => Promise<Operator>,
): Command {
  return new Command(name)
    .description(description)
    .argument(...shardId)
    .option('--no-wait', 'return once the change is planned')
    .action((shard: number, flags: ChangeFlags, command: Command) =>
      withAdmin(command, async (admin) => {
        const operator = operatorView(await change(admin, shard, flags));
        await printRows(command, [operator], operatorColumns);
        if (flags.wait && operator.state !== 'success') {
          throw new CommandError(
            exitCodes.failure,
            `operator ${operator.operatorId} ended as ${operator.state}: ${operator.reason}`,
          );
        }
        message(flags.wait ? 'done' : `operator ${operator.operatorId} is on its way`);
      }),
    );
}

function listCommand(): Command {
  return new Command('list')
    .description('list shards')
    .option('--keyspace <name>', 'only of this keyspace')
    .addOption(new Option('--store <id>', 'only those with a replica on this store').argParser(wholeNumber(1)))
    .action((flags: { keyspace?: string; store?: number }, command: Command) =>
      withAdmin(command, async (admin) => {
        const shards = [];
        for await (const shard of admin.listShards(flags.keyspace, flags.store)) shards.push(shardView(shard));
        await printRows(command, shards, shardColumns);
      }),
    );
}

function showCommand(): Command {
  return new Command('show')
    .description('show one shard with its replicas and its running operator')
    .argument(...shardId)
    .action((shard: number, _flags: unknown, command: Command) =>
      withAdmin(command, async (admin) =>
        printOne(command, shardView(await admin.getShard(shard)), shardDetailColumns),
      ),
    );
}

/** `skerry shard`. */
export function shardCommand(): Command {
  const split = changing(
    'split',
    'split a shard in two, near its middle or at a key',
    (admin, shard, { at, atHex, wait }) => {
      const splitKey = atHex === undefined ? Buffer.from(at ?? '', 'utf8') : Buffer.from(atHex, 'hex');
      return admin.splitShard({ shardId: shard, splitKey, wait });
    },
  )
    .option('--at <key>', 'user key (range keyspaces)')
    .addOption(
      new Option('--at-hex <bytes>', 'encoded key in hex (hash keyspaces: 4 digits are a token)').conflicts('at'),
    );
  const merge = changing('merge', 'make a shard a part of its neighbour', (admin, shard, { into, wait }) =>
    admin.mergeShards({ shardId: shard, targetShardId: into, wait }),
  ).addOption(storeOption('--into <shard>', 'the neighbour, with replicas on the same stores'));
  const add = changing('add-replica', 'add a voter on a store', (admin, shard, { store, learner, wait }) =>
    admin.addReplica({ shardId: shard, storeId: store, learner: learner ?? false, wait }),
  )
    .addOption(storeOption('--store <id>', 'the store that gets it'))
    .option('--learner', 'add a learner, which does not vote');
  const move = changing(
    'move-replica',
    'move a replica from one store to another',
    (admin, shard, { from, to, wait }) => admin.moveReplica({ shardId: shard, fromStoreId: from, toStoreId: to, wait }),
  )
    .addOption(storeOption('--from <id>', 'the store that gives it up'))
    .addOption(storeOption('--to <id>', 'the store that gets it'));
  const remove = changing('remove-replica', 'remove the replica on a store', (admin, shard, { store, wait }) =>
    admin.removeReplica({ shardId: shard, storeId: store, wait }),
  ).addOption(storeOption('--store <id>', 'the store that loses it'));
  const promote = changing('promote-learner', 'make the learner on a store a voter', (admin, shard, { store, wait }) =>
    admin.promoteLearner({ shardId: shard, storeId: store, wait }),
  ).addOption(storeOption('--store <id>', 'the store of the learner'));
  const transfer = changing(
    'transfer-leader',
    'hand leadership to the replica on a store',
    (admin, shard, { store, wait }) => admin.transferLeader({ shardId: shard, storeId: store, wait }),
  ).addOption(storeOption('--store <id>', 'the store that should lead'));
  return new Command('shard')
    .description('list, show and change shards')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(whyCommand('shard', (admin, id) => admin.whyShard(id)))
    .addCommand(shardVerifyCommand())
    .addCommand(split)
    .addCommand(merge)
    .addCommand(add)
    .addCommand(move)
    .addCommand(remove)
    .addCommand(promote)
    .addCommand(transfer);
}
