import { Command, Option } from 'commander';
import type { MetaEntry } from '../client/index.js';
import { commonOptions, wholeNumber, withMeta } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { message, printable, printJson, table, write } from './output.js';
import { standardInput } from './standard_input.js';

interface ReadFlags {
  readonly stale?: boolean;
}

interface WriteFlags {
  readonly ifVersion?: number;
}

function reading(name: string, description: string): Command {
  return new Command(name).description(description).option('--stale', 'take what the asked member has, however old');
}

function writing(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument('<key>')
    .addOption(
      new Option(
        '--if-version <version>',
        'only if the entry still has this version; 0: only if there is none',
      ).argParser(wholeNumber(0)),
    );
}

const entryColumns = [
  { title: 'KEY', value: (entry: MetaEntry) => entry.key },
  { title: 'VERSION', value: (entry: MetaEntry) => entry.version },
  { title: 'VALUE', value: (entry: MetaEntry) => printable(entry.value) },
];

/** `skerry meta`: small values for configuration and service discovery, kept by the placement members. */
export function metaCommand(): Command {
  const get = reading('get', 'write the raw bytes of a value to standard output')
    .argument('<key>')
    .action((key: string, flags: ReadFlags, command: Command) =>
      withMeta(command, async (meta) => {
        const entry = await meta.get(key, flags);
        if (entry === null) throw new CommandError(exitCodes.notFound, `no value at key ${key}`);
        if (commonOptions(command).output === 'json') await printJson(jsonOf(entry));
        else await write(entry.value);
      }),
    );
  const set = writing('set', 'write a value')
    .argument('[value]', 'absent: read from standard input')
    .action((key: string, value: string | undefined, flags: WriteFlags, command: Command) =>
      withMeta(command, async (meta) => {
        const version = await meta.set(key, value ?? (await standardInput()), flags);
        if (commonOptions(command).output === 'json') await printJson({ key, version });
        else message(`${key} has version ${version}`);
      }),
    );
  const remove = writing('del', 'remove a key').action((key: string, flags: WriteFlags, command: Command) =>
    withMeta(command, async (meta) => {
      const existed = await meta.delete(key, flags);
      if (commonOptions(command).output === 'json') await printJson({ key, existed });
      else message(existed ? `${key} is removed` : `there was no ${key}`);
    }),
  );
  const exists = reading('exists', `say whether a key has a value; exit code ${exitCodes.notFound} if it has none`)
    .argument('<key>')
    .action((key: string, flags: ReadFlags, command: Command) =>
      withMeta(command, async (meta) => {
        const there = await meta.exists(key, flags);
        if (commonOptions(command).output === 'json') await printJson({ key, exists: there });
        else await write(`${there}\n`);
        if (!there) process.exitCode = exitCodes.notFound;
      }),
    );
  const list = reading('list', 'list entries by key')
    .argument('[prefix]', 'only keys that begin with it', '')
    .action((prefix: string, flags: ReadFlags, command: Command) =>
      withMeta(command, async (meta) => {
        const entries: MetaEntry[] = [];
        for await (const entry of meta.list(prefix, flags)) entries.push(entry);
        if (commonOptions(command).output === 'json') await printJson(entries.map(jsonOf));
        else await write(table(entries, entryColumns));
      }),
    );
  return new Command('meta')
    .description('read and write the metadata table: small values for configuration and service discovery')
    .addCommand(get)
    .addCommand(set)
    .addCommand(remove)
    .addCommand(exists)
    .addCommand(list);
}

function jsonOf({ key, value, version }: MetaEntry): { key: string; version: number; value: string } {
  return { key, version, value: value.toString('base64') };
}
