import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { Command } from 'commander';
import { z } from 'zod';
import type { SkerryClient } from '../client/index.js';
import { forEachBounded } from './bounded.js';
import { keyspaceOption, withClient } from './context.js';
import { CommandError, exitCodes } from './exit_codes.js';
import { exportPageRows, importLineBytesMax, transferInFlightMax } from './limits.js';
import { Progress } from './progress.js';

/**
 * `skerry kv import` and `export`: one JSON object a line, {"key": ..., "value": ...}. Text is written as it is; a
 * record that is not text says "encoding": "base64". Both stream: memory does not grow with the data.
 */
const recordSchema = z.strictObject({
  key: z.string(),
  value: z.string(),
  encoding: z.enum(['utf8', 'base64']).optional(),
});

interface TransferFlags {
  readonly base64?: boolean;
}

function isText(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes);
}

/** One line of an export, without its newline. */
export function lineOf(key: Buffer, value: Buffer, base64: boolean): string {
  if (!base64 && isText(key) && isText(value)) {
    return JSON.stringify({ key: key.toString('utf8'), value: value.toString('utf8') });
  }
  return JSON.stringify({ key: key.toString('base64'), value: value.toString('base64'), encoding: 'base64' });
}

/** The record of a line. @throws CommandError with the line's number */
export function recordOf(line: string, number: number, base64: boolean): { key: Buffer; value: Buffer } {
  if (line.length > importLineBytesMax) {
    throw new CommandError(exitCodes.usage, `line ${number} is longer than ${importLineBytesMax} bytes`);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CommandError(exitCodes.usage, `line ${number} is not JSON: ${error.message}`);
  }
  const record = recordSchema.safeParse(parsed);
  if (!record.success) {
    throw new CommandError(exitCodes.usage, `line ${number}: expected {"key": "...", "value": "..."}`);
  }
  const encoding = record.data.encoding ?? (base64 ? 'base64' : 'utf8');
  return { key: Buffer.from(record.data.key, encoding), value: Buffer.from(record.data.value, encoding) };
}

async function* numberedLines(input: NodeJS.ReadableStream): AsyncGenerator<{ line: string; number: number }> {
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    number++;
    if (line.trim() !== '') yield { line, number };
  }
}

async function importFrom(client: SkerryClient, file: string | undefined, flags: TransferFlags): Promise<void> {
  const fileBytes = file === undefined ? 0 : (await stat(file)).size;
  const input = file === undefined ? process.stdin : createReadStream(file);
  const progress = new Progress('records imported', 0);
  try {
    await forEachBounded(numberedLines(input), transferInFlightMax, async ({ line, number }) => {
      const { key, value } = recordOf(line, number, flags.base64 === true);
      await client.set(key, value);
      progress.add(1, fileBytes > 0 && 'bytesRead' in input ? input.bytesRead / fileBytes : undefined);
    });
  } finally {
    progress.finish();
  }
}

async function exportTo(
  client: SkerryClient,
  file: string | undefined,
  flags: TransferFlags & { readonly prefix?: string },
): Promise<void> {
  const toFile = file === undefined ? null : createWriteStream(file);
  const output: NodeJS.WritableStream = toFile ?? process.stdout;
  const progress = new Progress('records exported', 0);
  for await (const { key, value } of client.scan({ prefix: flags.prefix, pageSize: exportPageRows })) {
    if (!output.write(`${lineOf(key, value, flags.base64 === true)}\n`)) {
      await new Promise((resolve, reject) => {
        output.once('drain', resolve);
        output.once('error', reject);
      });
    }
    progress.add(1);
  }
  if (toFile !== null) {
    toFile.end();
    await finished(toFile);
  }
  progress.finish();
}

export function importCommand(): Command {
  return new Command('import')
    .description('write records from lines of {"key": "...", "value": "..."}')
    .argument('[file]', 'absent: standard input')
    .addOption(keyspaceOption())
    .option('--base64', 'keys and values are base64 unless a record says otherwise')
    .action((file: string | undefined, flags: TransferFlags, command: Command) =>
      withClient(command, (client) => importFrom(client, file, flags)),
    );
}

export function exportCommand(): Command {
  return new Command('export')
    .description('write all records as lines of {"key": "...", "value": "..."}')
    .argument('[file]', 'absent: standard output')
    .addOption(keyspaceOption())
    .option('--prefix <prefix>', 'only keys that begin with it')
    .option('--base64', 'write every key and value in base64')
    .action((file: string | undefined, flags: TransferFlags & { prefix?: string }, command: Command) =>
      withClient(command, (client) => exportTo(client, file, flags)),
    );
}
