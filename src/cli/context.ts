import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { AdminClient, MetaClient, SkerryClient } from '../client/index.js';
import { CommandError, exitCodes } from './exit_codes.js';

/** What every command shares: the options that name a cluster, and clients that are closed at the end. */
export interface CommonOptions {
  readonly placement?: string;
  readonly keyspace?: string;
  readonly output: 'table' | 'json';
  readonly timeout: number;
}

/** A whole number from `min`. @throws InvalidArgumentError, which commander reports as a usage error */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`It must be a whole number from ${min}.`);
    }
    return value;
  };
}

export function addCommonOptions(program: Command): Command {
  return program
    .addOption(new Option('--placement <members>', 'placement members as host:port,host:port').env('SKERRY_PLACEMENT'))
    .addOption(new Option('--output <format>', 'how to print results').choices(['table', 'json']).default('table'))
    .addOption(new Option('--timeout <ms>', 'time for one operation').default(10_000).argParser(wholeNumber(1)));
}

/** For commands that work inside a keyspace. */
export function keyspaceOption(): Option {
  return new Option('--keyspace <name>', 'keyspace to work in').default('default').env('SKERRY_KEYSPACE');
}

export function commonOptions(command: Command): CommonOptions {
  return command.optsWithGlobals();
}

function placementOf(options: CommonOptions): string {
  if (options.placement === undefined || options.placement === '') {
    throw new CommandError(
      exitCodes.usage,
      'no placement members named: pass --placement host:port or set SKERRY_PLACEMENT',
    );
  }
  return options.placement;
}

/** Runs `use` with a client that is closed at the end, however it ends. */
async function withClosing<C extends { close(): void }, T>(
  connected: Promise<C>,
  use: (client: C) => Promise<T>,
): Promise<T> {
  const client = await connected;
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

export async function withClient<T>(command: Command, use: (client: SkerryClient) => Promise<T>): Promise<T> {
  const options = commonOptions(command);
  const { keyspace, timeout } = options;
  const placement = placementOf(options);
  return withClosing(SkerryClient.connect({ placement, keyspace, timeoutMs: timeout, connectTimeoutMs: timeout }), use);
}

export async function withAdmin<T>(command: Command, use: (admin: AdminClient) => Promise<T>): Promise<T> {
  const options = commonOptions(command);
  return withClosing(AdminClient.connect({ placement: placementOf(options), timeoutMs: options.timeout }), use);
}

export async function withMeta<T>(command: Command, use: (meta: MetaClient) => Promise<T>): Promise<T> {
  const options = commonOptions(command);
  return withClosing(MetaClient.connect({ placement: placementOf(options), timeoutMs: options.timeout }), use);
}
