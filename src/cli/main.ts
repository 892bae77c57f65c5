import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { clusterCommand } from './cluster.js';
import { addCommonOptions } from './context.js';
import { describeError, exitCodeOf, exitCodes } from './exit_codes.js';
import { keyspaceCommand } from './keyspace.js';
import { kvCommand } from './kv.js';
import { operatorCommand } from './operator.js';
import { metaCommand } from './meta.js';
import { message } from './output.js';
import { packageRoot } from './playground/package_root.js';
import { placementCommand } from './placement.js';
import { playgroundCommand } from './playground/command.js';
import { recoverCommand } from './recover.js';
import { scheduleCommand } from './schedule.js';
import { shardCommand } from './shard.js';
import { storeCommand } from './store.js';

/**
 * The `skerry` command: one file for each noun (kv, keyspace, shard, store, operator, cluster, placement, recover, meta, playground), and here
 * what they share: the program, errors, exit codes. Data goes to standard output, everything else to standard error.
 */
function program(): Command {
  const { version } = JSON.parse(readFileSync(`${packageRoot}/package.json`, 'utf8')) as { version: string };
  const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const codes = Object.entries(exitCodes).map(([name, code]) => `${code} ${words(name)}`);
  const root = addCommonOptions(new Command('skerry'))
    .description('Skerry, a Multi-Raft sharded key-value store')
    .version(version)
    .addHelpText('after', `\nExit codes: ${codes.join(', ')}`)
    .addCommand(playgroundCommand())
    .addCommand(kvCommand())
    .addCommand(keyspaceCommand())
    .addCommand(shardCommand())
    .addCommand(scheduleCommand())
    .addCommand(storeCommand())
    .addCommand(operatorCommand())
    .addCommand(clusterCommand())
    .addCommand(placementCommand())
    .addCommand(recoverCommand())
    .addCommand(metaCommand());
  throwInsteadOfExit(root);
  return root;
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help shows what there is)').showSuggestionAfterError();
  for (const sub of command.commands) throwInsteadOfExit(sub);
}

/** Runs one command line (without node and script) and sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  // A reader that stops early (`skerry kv scan | head`) is not an error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });
  try {
    await program().parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version were asked for; everything else that commander throws is a usage error, told already.
      process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
      return;
    }
    message(`error: ${describeError(error)}`);
    process.exitCode = exitCodeOf(error);
  }
}
