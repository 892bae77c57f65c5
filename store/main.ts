#!/usr/bin/env node
import { Command } from 'commander';
import { destination, pino } from 'pino';
import { ConfigError } from '../src/base/config_schema.js';
import { addConfigFlags, loadConfig } from '../src/config/load_config.js';
import { BindError } from '../src/transport/grpc_server.js';
import { DataDirectoryError } from './data_directory.js';
import { PlacementRefusal } from './placement_members.js';
import { storeConfigSchema } from './store_config.js';
import { StoreServer, storeVersion } from './store_server.js';

/**
 * skerry-store: one store process. Logs go to stderr, one JSON line a record; stdout has exactly one line, once the store serves:
 *
 *     {"event":"ready","storeId":1,"clusterId":…,"address":"127.0.0.1:4711","metrics":"127.0.0.1:4712"}
 *
 * Exit codes: 0 stopped by SIGINT or SIGTERM; 1 failed (disk, engine, broken invariant); 2 cannot start as
 * configured (bad flag or key, data directory in use or of another cluster, address in use).
 */
const exitOk = 0;
const exitFailed = 1;
const exitConfig = 2;

async function main(): Promise<void> {
  const command = new Command('skerry-store')
    .description('Runs one Skerry store. Every option can be given in the file of --config or as SKERRY_STORE_… too.')
    .version(storeVersion)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? exitOk : exitConfig));
  addConfigFlags(command, storeConfigSchema);
  command.parse();
  const config = loadConfig({
    schema: storeConfigSchema,
    environmentPrefix: 'SKERRY_STORE_',
    environment: process.env,
    flags: command.opts(),
  });
  const logger = pino({ name: 'skerry-store', level: config.logLevel }, destination({ dest: 2, sync: true }));
  const die = (error: unknown): void => {
    logger.fatal({ err: error }, 'the store has failed and ends');
    process.exit(exitFailed);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
  const server = new StoreServer({
    config,
    logger,
    fatal: (error) => {
      if (error instanceof DataDirectoryError) fail(error.message);
      die(error);
    },
  });
  let signals = 0;
  const stop = (signal: string): void => {
    signals++;
    // The second one means it.
    if (signals > 1) process.exit(exitFailed);
    logger.info({ signal }, 'stopping');
    server.close().then(() => process.exit(exitOk), die);
  };
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGTERM', () => stop('SIGTERM'));
  await server.start();
  const { storeId, clusterId, address, metricsAddress: metrics } = server;
  process.stdout.write(`${JSON.stringify({ event: 'ready', storeId, clusterId, address, metrics })}\n`);
}

function fail(message: string): never {
  process.stderr.write(`skerry-store: ${message}\n`);
  process.exit(exitConfig);
}

main().catch((error: unknown) => {
  const expected =
    error instanceof ConfigError ||
    error instanceof DataDirectoryError ||
    error instanceof BindError ||
    error instanceof PlacementRefusal;
  if (expected) fail(error.message);
  process.stderr.write(`skerry-store: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(exitFailed);
});
