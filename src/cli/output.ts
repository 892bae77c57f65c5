import type { Command } from 'commander';
import { commonOptions } from './context.js';

/** Data goes to standard output, messages for people to standard error. */

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number;
}

/** Waits while the reader of a pipe is slower than we are. */
export async function write(text: string | Buffer): Promise<void> {
  if (process.stdout.write(text)) return;
  await new Promise((resolve) => process.stdout.once('drain', resolve));
}

export function message(text: string): void {
  process.stderr.write(`${text}\n`);
}

export async function printJson(value: unknown): Promise<void> {
  await write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Rows as an aligned table, or as JSON exactly as they are. */
export async function printRows<Row>(
  command: Command,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): Promise<void> {
  if (commonOptions(command).output === 'json') await printJson(rows);
  else await write(table(rows, columns));
}

/** One thing: as JSON, or as lines of name and value. */
export async function printOne<Row>(command: Command, row: Row, columns: readonly Column<Row>[]): Promise<void> {
  if (commonOptions(command).output === 'json') {
    await printJson(row);
    return;
  }
  const width = Math.max(...columns.map((c) => c.title.length));
  for (const { title, value } of columns) await write(`${title.padEnd(width)}  ${value(row)}\n`);
}

export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = [columns.map((c) => c.title), ...rows.map((row) => columns.map((c) => String(c.value(row))))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const lines = cells.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Bytes for people: text as it is, and what does not print as \xNN. */
export function printable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8');
  const isText = Buffer.from(text, 'utf8').equals(bytes) && !/[\u0000-\u001f\u007f-\u009f]/.test(text);
  if (isText) return text;
  return [...bytes]
    .map((byte) => (byte >= 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : `\\x${hex(byte)}`))
    .join('');
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

export function bytesForPeople(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}
