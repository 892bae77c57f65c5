import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { PolicyError, parsePolicy, policyView } from '../config/placement_policy.js';
import type { PlacementPolicy } from '../gen/skerry/v1/admin.js';
import { commonOptions, withAdmin } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { message, printJson, write } from './output.js';

/** `skerry keyspace policy`. */
export function keyspacePolicyCommand(): Command {
  const set = new Command('set')
    .description('say what a keyspace wants of its replicas, from a YAML file')
    .argument('<keyspace>')
    .requiredOption('--file <path>', 'the policy')
    .option('--plan', 'change nothing; say what it would set in motion')
    .action((keyspace: string, flags: { file: string; plan?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const plan = flags.plan ?? false;
        const changes = await admin.setKeyspacePolicy(keyspace, await readPolicy(flags.file), plan);
        if (commonOptions(command).output === 'json') await printJson({ plan, changes });
        else await write(changes.length === 0 ? 'nothing to change\n' : `${changes.join('\n')}\n`);
        message(plan ? 'nothing was changed' : `the policy of ${keyspace} is in force`);
      }),
    );
  const get = new Command('get')
    .description('show what a keyspace wants of its replicas')
    .argument('<keyspace>')
    .action((keyspace: string, _flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => {
        const view = policyView(await admin.getKeyspacePolicy(keyspace));
        if (commonOptions(command).output === 'json') await printJson(view);
        else await write(stringify(view));
      }),
    );
  return new Command('policy').description('what a keyspace wants of its replicas').addCommand(set).addCommand(get);
}

/** @throws CommandError with a line per problem */
export async function readPolicy(path: string): Promise<PlacementPolicy> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CommandError(exitCodes.usage, `cannot read ${path}: ${(error as Error).message}`);
  }
  try {
    return parsePolicy(text);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new CommandError(exitCodes.usage, `${path}: ${error.message}`);
  }
}
