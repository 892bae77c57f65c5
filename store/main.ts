import { Command } from 'commander';
import { pino } from 'pino';
import { ConfigError } from '../src/base/config_schema.js';
import type { Logger } from '../src/base/logger.js';
import { addConfigFlags, loadConfig } from '../src/config/load_config.js';
import { EngineError } from '../src/engine/engine_error.js';
import { RaftLogError } from '../src/raftlog/log_error.js';
import { BindError } from '../src/transport/grpc_server.js';
import { DataDirectoryError } from './data_directory.js';
import { PlacementRefusal } from './placement_members.js';
import type { StoreConfig } from './store_config.js';
import { storeConfigSchema } from './store_config.js';
import { StoreServer, storeVersion } from './store_server.js';

/** Exit codes: 0 stopped as asked, 1 the store failed, 2 it was told to do something that it cannot. */
const exitOk = 0;
const exitFailed = 1;
const exitUsage = 2;
/** A close that takes longer than this is cut short. */
const closeMsMax = 15_000;

/**
 * The `skerry-store` command. One line of JSON on standard output says that it serves:
 *
 *     {"event":"ready","storeId":1,"clusterId":7,"address":"127.0.0.1:4711","metrics":"127.0.0.1:4712"}
 *
 * Logs go to standard error. SIGTERM and SIGINT hand leaderships over and close it in order; a second one ends it at once.
 */
export async function main(argv: readonly string[]): Promise<void> {
  const command = new Command('skerry-store')
    .description('A store of a Skerry cluster')
    .version(storeVersion)
    .option('--exit-on-stdin-end', 'stop when standard input ends, for a server that must not outlive its parent')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? exitOk : exitUsage));
  addConfigFlags(command, storeConfigSchema);
  command.parse([...argv], { from: 'user' });
  const flags: Record<string, unknown> = command.opts();
  const config = configOrExit(flags);
  const logger = pino({ level: config.logLevel, base: { name: 'skerry-store' } }, pino.destination(2));
  const fatal = (error: Error): void => {
    logger.fatal({ err: error }, 'the store cannot go on');
    // Nothing may be acknowledged any more, so there is nothing to close in order.
    process.exit(error instanceof DataDirectoryError ? exitUsage : exitFailed);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', (reason) => fatal(reason instanceof Error ? reason : new Error(String(reason))));
  const server = new StoreServer({ config, logger, fatal });
  closeWhenAsked(server, logger, flags['exitOnStdinEnd'] === true);
  try {
    await server.start();
  } catch (error) {
    startFailed(error, logger);
  }
  const { storeId, clusterId, address, metricsAddress: metrics } = server;
  process.stdout.write(`${JSON.stringify({ event: 'ready', storeId, clusterId, address, metrics })}\n`);
}

function configOrExit(flags: Readonly<Record<string, unknown>>): StoreConfig {
  try {
    return loadConfig({
      schema: storeConfigSchema,
      environmentPrefix: 'SKERRY_STORE_',
      environment: process.env,
      flags,
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) process.stderr.write(`skerry-store: ${problem}\n`);
    process.exit(exitUsage);
  }
}

/** What people can cure gets its message; anything else its stack. */
function startFailed(error: unknown, logger: Logger): never {
  const curable =
    error instanceof DataDirectoryError ||
    error instanceof BindError ||
    error instanceof PlacementRefusal ||
    error instanceof EngineError ||
    error instanceof RaftLogError;
  if (curable) process.stderr.write(`skerry-store: ${error.message}\n`);
  else logger.fatal({ err: error }, 'the store cannot start');
  process.exit(curable ? exitUsage : exitFailed);
}

function closeWhenAsked(server: StoreServer, logger: Logger, onStdinEnd: boolean): void {
  let closing = false;
  const close = (why: string): void => {
    if (closing) process.exit(exitFailed);
    closing = true;
    logger.info({ why }, 'closing');
    setTimeout(() => process.exit(exitFailed), closeMsMax).unref();
    server.close().then(
      () => process.exit(exitOk),
      (error: unknown) => {
        logger.error({ err: error }, 'could not close in order');
        process.exit(exitFailed);
      },
    );
  };
  process.on('SIGTERM', () => close('SIGTERM'));
  process.on('SIGINT', () => close('SIGINT'));
  if (onStdinEnd) process.stdin.on('end', () => close('standard input ended')).resume();
}
