import type { Command } from '../multiraft/host.js';
import { Reader } from './reader.js';
import { bytesFieldSize, Writer } from './writer.js';

const commandTag = (1 << 3) | 2;
const adminCommandTag = (2 << 3) | 2;

/** The EntryPayload of a normal Raft entry. Commands of both kinds keep their common order. */
export function encodeEntryPayload(commands: readonly Command[]): Buffer {
  let size = 0;
  for (const command of commands) size += bytesFieldSize(command.bytes.length);
  const writer = new Writer(size);
  for (const command of commands) writer.bytesField((command.kind << 3) | 2, command.bytes);
  return writer.finish();
}

/**
 * The commands of an entry, as views into it. An entry without data (a new leader's) has none.
 * @throws WireError
 */
export function decodeEntryPayload(data: Buffer): Command[] {
  const commands: Command[] = [];
  const reader = new Reader(data);
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case commandTag:
      case adminCommandTag:
        reader.countItem();
        commands.push({ kind: tag === commandTag ? 1 : 2, bytes: reader.bytes() });
        break;
      default:
        reader.skip(tag);
    }
  }
  return commands;
}
