import { Command } from 'commander';
import type { AdminClient } from '../client/index.js';
import type { Decision } from '../gen/skerry/v1/admin.js';
import { wholeNumber, withAdmin } from './context.js';
import type { Column } from './output.js';
import { printRows } from './output.js';

const columns: readonly Column<Decision>[] = [
  { title: 'BY', value: (d) => d.by },
  { title: 'WANTS', value: (d) => (d.wants === '' ? 'nothing' : d.wants) },
  { title: 'HELD BACK BY', value: (d) => (d.heldBy === '' ? '-' : d.detail) },
  { title: 'LOOKS AGAIN', value: (d) => `within ${(d.looksAgainMs / 1000).toFixed(1)} s` },
];

/** `skerry shard why`, `skerry store why`. */
export function whyCommand(noun: string, ask: (admin: AdminClient, id: number) => Promise<Decision[]>): Command {
  return new Command('why')
    .description(`say what placement wants for a ${noun}, what holds it back, and when it looks again`)
    .argument(`<${noun}>`, `${noun} id`, wholeNumber(1))
    .action((id: number, _flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => printRows(command, await ask(admin, id), columns)),
    );
}
