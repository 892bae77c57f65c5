import { Command, Option } from 'commander';
import type { Keyspace } from '../gen/skerry/v1/meta.js';
import { KeyspaceState, Partitioning } from '../gen/skerry/v1/meta.js';
import { commonOptions, wholeNumber, withAdmin } from './context.js';
import { keyspacePolicyCommand, readPolicy } from './keyspace_policy.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { message, printJson, printRows, write } from './output.js';

interface KeyspaceView {
  readonly keyspaceId: number;
  readonly name: string;
  readonly partitioning: string;
  readonly replicas: number;
  readonly state: string;
  readonly initialShards: number;
}

export function keyspaceView(keyspace: Keyspace): KeyspaceView {
  return {
    keyspaceId: keyspace.keyspaceId,
    name: keyspace.name,
    partitioning: nameOfValue(Partitioning, keyspace.partitioning),
    replicas: keyspace.replicaCount,
    state: nameOfValue(KeyspaceState, keyspace.state),
    initialShards: keyspace.initialShards,
  };
}

const columns: readonly Column<KeyspaceView>[] = [
  { title: 'ID', value: (k) => k.keyspaceId },
  { title: 'NAME', value: (k) => k.name },
  { title: 'PARTITIONING', value: (k) => k.partitioning },
  { title: 'REPLICAS', value: (k) => k.replicas },
  { title: 'STATE', value: (k) => k.state },
  { title: 'INITIAL SHARDS', value: (k) => k.initialShards },
];

interface CreateFlags {
  readonly shards?: number;
  readonly range?: boolean;
  readonly splitKey: string[];
  readonly replicas?: number;
  readonly policy?: string;
  readonly plan?: boolean;
  readonly wait: boolean;
}

/** `skerry keyspace`. */
export function keyspaceCommand(): Command {
  const create = new Command('create')
    .description('make a keyspace and its shards')
    .argument('<name>')
    .addOption(new Option('--shards <count>', 'hash shards (default 16)').argParser(wholeNumber(1)))
    .option('--range', 'keep keys in order instead of hashing them')
    .option(
      '--split-key <key>',
      'start of a further range shard; may be repeated',
      (key, all: string[]) => [...all, key],
      [],
    )
    .addOption(new Option('--replicas <count>', 'replicas of each shard (default 3)').argParser(wholeNumber(1)))
    .option('--policy <path>', 'what it wants of its replicas, a YAML file (see keyspace policy)')
    .option('--plan', 'create nothing; say which stores would get its shards')
    .option('--no-wait', 'do not wait until every shard has a leader')
    .action((name: string, flags: CreateFlags, command: Command) =>
      withAdmin(command, async (admin) => {
        const options = {
          shards: flags.shards,
          range: flags.range,
          splitKeys: flags.splitKey.length > 0 ? flags.splitKey : undefined,
          replicas: flags.replicas,
          policy: flags.policy === undefined ? undefined : await readPolicy(flags.policy),
          wait: flags.wait,
        };
        if (flags.plan === true) {
          const changes = await admin.planKeyspace(name, options);
          if (commonOptions(command).output === 'json') await printJson({ plan: true, changes });
          else await write(`${changes.join('\n')}\n`);
          message('nothing was created');
          return;
        }
        const keyspace = await admin.createKeyspace(name, options);
        message(`keyspace ${name} was created`);
        await printRows(command, [keyspaceView(keyspace)], columns);
      }),
    );
  const list = new Command('list').description('list keyspaces').action((_flags: unknown, command: Command) =>
    withAdmin(command, async (admin) => {
      await printRows(command, (await admin.listKeyspaces()).map(keyspaceView), columns);
    }),
  );
  return new Command('keyspace')
    .description('make and list keyspaces, and say what they want of their replicas')
    .addCommand(create)
    .addCommand(list)
    .addCommand(keyspacePolicyCommand());
}
