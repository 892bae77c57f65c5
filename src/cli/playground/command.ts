import { Command, Option } from 'commander';
import { wholeNumber } from '../context.js';
import { CommandError, exitCodes } from '../exit_codes.js';
import { message } from '../output.js';
import { runCommand } from './exec.js';
import { playgroundStoresMax } from './limits.js';
import type { LocalCluster } from './local_cluster.js';
import { startLocalCluster } from './local_cluster.js';
import { firstSignal } from './signals.js';
import { tour } from './tour.js';

interface PlaygroundFlags {
  readonly stores: number;
  readonly placements: number;
  readonly shards: number;
  readonly dataDir?: string;
  readonly exec?: string;
  readonly quiet?: boolean;
}

/**
 * `skerry playground`: a real cluster on this machine, then a tour of it or a command with it. Everything that was
 * started ends with it, whatever the way: after the command, on Ctrl-C, on SIGTERM, on SIGHUP, on an error, and even
 * when it is killed, because the servers stop when their standard input ends.
 */
export function playgroundCommand(): Command {
  return new Command('playground')
    .description('start a cluster on this machine and show it, or run a command with it')
    .addOption(new Option('--stores <count>', 'stores to start').default(3).argParser(wholeNumber(1)))
    .addOption(
      new Option('--placements <count>', 'placement members to start: 1, 3 or 5').default(1).argParser(wholeNumber(1)),
    )
    .addOption(new Option('--shards <count>', 'shards of the keyspace `default`').default(16).argParser(wholeNumber(1)))
    .option('--data-dir <dir>', 'keep the data there (default: a temporary directory, removed at the end)')
    .option(
      '--exec <command>',
      'run this in a shell with SKERRY_PLACEMENT set, instead of the tour; exit with its code',
    )
    .option('--quiet', 'no messages about the start')
    .action(playground);
}

async function playground(flags: PlaygroundFlags): Promise<void> {
  if (flags.stores > playgroundStoresMax) {
    throw new CommandError(exitCodes.usage, `--stores: at most ${playgroundStoresMax} on one machine`);
  }
  if (![1, 3, 5].includes(flags.placements)) throw new CommandError(exitCodes.usage, '--placements is 1, 3 or 5');
  const signal = firstSignal();
  const say = flags.quiet === true ? (): void => undefined : message;
  const work = run(flags, say, signal.aborted);
  const outcome = await Promise.race([work, signal.received.then((name) => ({ name }))]);
  if (typeof outcome === 'object') {
    say(`${outcome.name}: stopping`);
    await work.catch(() => undefined);
    // The tour is meant to end with Ctrl-C.
    process.exitCode =
      outcome.name === 'SIGINT' && flags.exec === undefined ? exitCodes.ok : signal.exitCode(outcome.name);
  } else process.exitCode = outcome;
  signal.release();
}

/** @returns the exit code */
async function run(flags: PlaygroundFlags, say: (text: string) => void, aborted: AbortSignal): Promise<number> {
  let cluster: LocalCluster | null = null;
  try {
    cluster = await startLocalCluster({
      stores: flags.stores,
      placements: flags.placements,
      dataDir: flags.dataDir,
      onProgress: say,
      signal: aborted,
    });
    aborted.throwIfAborted();
    await cluster.createKeyspace('default', { shards: flags.shards });
    aborted.throwIfAborted();
    if (flags.exec !== undefined) return await runCommand(flags.exec, cluster, aborted);
    await tour(cluster, aborted);
    return exitCodes.ok;
  } finally {
    await cluster?.stop();
  }
}
