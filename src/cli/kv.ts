import { Command, Option } from 'commander';
import type { ConsistencyName, SkerryClient } from '../client/index.js';
import { commonOptions, keyspaceOption, wholeNumber, withClient } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { exportCommand, importCommand } from './kv_transfer.js';
import { message, printable, printJson, write } from './output.js';
import { standardInput } from './standard_input.js';

interface EncodingOptions {
  readonly base64?: boolean;
}

interface ReadFlags extends EncodingOptions {
  readonly consistency: ConsistencyName;
}

function base64Option(): Option {
  return new Option('--base64', 'keys and values on the command line and in results are base64');
}

function consistencyOption(): Option {
  return new Option('--consistency <kind>', 'how fresh the read must be')
    .choices(['linearizable', 'follower', 'stale'])
    .default('linearizable');
}

function bytesOf(text: string, options: EncodingOptions): Buffer {
  if (options.base64 !== true) return Buffer.from(text, 'utf8');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
    throw new CommandError(exitCodes.usage, `"${text}" is not base64`);
  }
  return bytes;
}

function textOf(bytes: Buffer, options: EncodingOptions): string {
  return options.base64 === true ? bytes.toString('base64') : printable(bytes);
}

function missing(key: string): CommandError {
  return new CommandError(exitCodes.notFound, `no value at key ${key}`);
}

/** A command of `skerry kv` with what they all have. */
function verb(name: string, description: string): Command {
  return new Command(name).description(description).addOption(keyspaceOption()).addOption(base64Option());
}

async function get(client: SkerryClient, key: string, flags: ReadFlags, command: Command): Promise<void> {
  const value = await client.get(bytesOf(key, flags), { consistency: flags.consistency });
  if (value === null) throw missing(key);
  if (commonOptions(command).output === 'json') await printJson({ key, value: value.toString('base64') });
  else await write(flags.base64 === true ? `${value.toString('base64')}\n` : value);
}

interface ScanFlags extends ReadFlags {
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

async function scan(client: SkerryClient, flags: ScanFlags, command: Command): Promise<void> {
  const bound = (text: string | undefined): Buffer | undefined =>
    text === undefined ? undefined : bytesOf(text, flags);
  const rows = client.scan({
    prefix: bound(flags.prefix),
    start: bound(flags.start),
    end: bound(flags.end),
    limit: flags.limit,
    reverse: flags.reverse,
    keysOnly: flags.keysOnly,
    consistency: flags.consistency,
  });
  const asJson = commonOptions(command).output === 'json';
  let count = 0;
  for await (const { key, value } of rows) {
    count++;
    const shown = { key: textOf(key, flags), value: textOf(value, flags) };
    // One object a line: a scan may be longer than memory.
    if (asJson) await write(`${JSON.stringify(flags.keysOnly === true ? { key: shown.key } : shown)}\n`);
    else await write(flags.keysOnly === true ? `${shown.key}\n` : `${shown.key}\t${shown.value}\n`);
  }
  message(`${count} rows`);
}

/** `skerry kv`: keys and values. */
export function kvCommand(): Command {
  const set = verb('set', 'write a value')
    .argument('<key>')
    .argument('[value]', 'absent: read from standard input')
    .action((key: string, value: string | undefined, flags: EncodingOptions, command: Command) =>
      withClient(command, async (client) => {
        const bytes = value === undefined ? await standardInput() : bytesOf(value, flags);
        await client.set(bytesOf(key, flags), bytes);
      }),
    );
  const get_ = verb('get', 'write the raw bytes of a value to standard output')
    .argument('<key>')
    .addOption(consistencyOption())
    .action((key: string, flags: ReadFlags, command: Command) =>
      withClient(command, (client) => get(client, key, flags, command)),
    );
  const remove = verb('delete', 'remove a key')
    .argument('<key>')
    .action((key: string, flags: EncodingOptions, command: Command) =>
      withClient(command, (client) => client.delete(bytesOf(key, flags))),
    );
  const exists = verb('exists', `say whether a key has a value; exit code ${exitCodes.notFound} if it has none`)
    .argument('<key>')
    .addOption(consistencyOption())
    .action((key: string, flags: ReadFlags, command: Command) =>
      withClient(command, async (client) => {
        const there = await client.exists(bytesOf(key, flags), { consistency: flags.consistency });
        if (commonOptions(command).output === 'json') await printJson({ key, exists: there });
        else await write(`${there}\n`);
        if (!there) process.exitCode = exitCodes.notFound;
      }),
    );
  const scan_ = verb('scan', 'list keys and values, in the order of their shards')
    .option('--prefix <prefix>', 'only keys that begin with it')
    .option('--start <key>', 'first key (range keyspaces)')
    .option('--end <key>', 'first key past the last (range keyspaces)')
    .addOption(new Option('--limit <rows>', 'rows at most').argParser(wholeNumber(1)))
    .option('--reverse', 'from the end')
    .option('--keys-only', 'without values')
    .addOption(consistencyOption())
    .action((flags: ScanFlags, command: Command) => withClient(command, (client) => scan(client, flags, command)));
  return new Command('kv')
    .description('read and write keys and values')
    .addCommand(set)
    .addCommand(get_)
    .addCommand(remove)
    .addCommand(exists)
    .addCommand(scan_)
    .addCommand(importCommand())
    .addCommand(exportCommand());
}
