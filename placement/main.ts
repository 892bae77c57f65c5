import { Command } from 'commander';
import { pino } from 'pino';
import { ConfigError } from '../src/base/config_schema.js';
import type { Logger } from '../src/base/logger.js';
import { addConfigFlags, loadConfig } from '../src/config/load_config.js';
import { EngineError } from '../src/engine/engine_error.js';
import { RaftLogError } from '../src/raftlog/log_error.js';
import { BindError } from '../src/transport/grpc_server.js';
import { DataDirectoryError } from './data_directory.js';
import type { PlacementConfig } from './placement_config.js';
import { placementConfigSchema } from './placement_config.js';
import { PlacementServer } from './placement_server.js';

/** Exit codes: 1 the server failed, 2 it was told to do something that it cannot. */
const exitFailed = 1;
const exitUsage = 2;
/** A close that takes longer than this is cut short. */
const closeMsMax = 15_000;

/**
 * The `skerry-placement` command. One line of JSON on standard output says that it serves; logs go to standard error.
 * SIGTERM and SIGINT close it in order; a second one ends it at once.
 */
export async function main(argv: readonly string[]): Promise<void> {
  const command = new Command('skerry-placement')
    .description('A member of the placement service of a Skerry cluster')
    .option('--exit-on-stdin-end', 'stop when standard input ends, for a server that must not outlive its parent');
  addConfigFlags(command, placementConfigSchema);
  command.parse([...argv], { from: 'user' });
  const flags: Record<string, unknown> = command.opts();
  const config = configOrExit(flags);
  const logger = pino({ level: config.logLevel, base: { memberId: config.memberId } }, pino.destination(2));
  const fatal = (error: Error): void => {
    logger.fatal({ err: error }, 'the placement member cannot go on');
    // Nothing may be acknowledged any more, so there is nothing to close in order.
    process.exit(exitFailed);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', (reason) => fatal(reason instanceof Error ? reason : new Error(String(reason))));
  const server = serverOrExit(config, logger, fatal, () => {
    logger.info('this member was removed from the placement group; its directory can be deleted');
    closeAndExit(server, logger);
  });
  closeOnSignals(server, logger, flags['exitOnStdinEnd'] === true);
  try {
    await server.start();
  } catch (error) {
    return startFailed(error, logger);
  }
  const { memberId, address, metricsAddress } = server;
  logger.info({ address, metricsAddress, clusterId: server.clusterId }, 'serving');
  process.stdout.write(`${JSON.stringify({ event: 'ready', memberId, address, metrics: metricsAddress })}\n`);
}

function configOrExit(flags: Readonly<Record<string, unknown>>): PlacementConfig {
  try {
    return loadConfig({
      schema: placementConfigSchema,
      environmentPrefix: 'SKERRY_PLACEMENT_',
      environment: process.env,
      flags,
    });
  } catch (error) {
    return refuseConfig(error);
  }
}

function serverOrExit(
  config: PlacementConfig,
  logger: Logger,
  fatal: (error: Error) => void,
  removed: () => void,
): PlacementServer {
  try {
    return new PlacementServer({ config, logger, fatal, removed });
  } catch (error) {
    return refuseConfig(error);
  }
}

function refuseConfig(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error;
  for (const problem of error.problems) process.stderr.write(`skerry-placement: ${problem}\n`);
  process.exit(exitUsage);
}

/** What people can cure gets its message; anything else its stack. */
function startFailed(error: unknown, logger: Logger): never {
  const curable =
    error instanceof DataDirectoryError ||
    error instanceof BindError ||
    error instanceof EngineError ||
    error instanceof RaftLogError;
  if (curable) process.stderr.write(`skerry-placement: ${error.message}\n`);
  else logger.fatal({ err: error }, 'the placement member could not start');
  process.exit(exitFailed);
}

function closeAndExit(server: PlacementServer, logger: Logger): void {
  const timer = setTimeout(() => process.exit(exitFailed), closeMsMax);
  server.close().then(
    () => {
      clearTimeout(timer);
      process.exit(0);
    },
    (error: unknown) => {
      logger.error({ err: error }, 'could not close in order');
      process.exit(exitFailed);
    },
  );
}

function closeOnSignals(server: PlacementServer, logger: Logger, onStdinEnd: boolean): void {
  let closing = false;
  const close = (why: string): void => {
    if (closing) process.exit(exitFailed);
    closing = true;
    logger.info({ why }, 'closing');
    closeAndExit(server, logger);
  };
  process.on('SIGTERM', () => close('SIGTERM'));
  process.on('SIGINT', () => close('SIGINT'));
  if (!onStdinEnd) return;
  process.stdin.on('end', () => close('standard input ended'));
  process.stdin.on('error', () => close('standard input failed'));
  process.stdin.resume();
}
