import { AdminCommand } from '../src/gen/skerry/v1/kv.js';
import type { Group, ProposalOutcome } from '../src/multiraft/host.js';

/** The field of EntryPayload that holds administrative commands. */
const adminKind = 2;

/** Proposes a command that a store gives itself; `done` as of Group.propose. */
export function proposeAdmin(
  group: Group,
  command: NonNullable<AdminCommand['command']>,
  done: (outcome: ProposalOutcome) => void,
): void {
  group.propose(adminKind, Buffer.from(AdminCommand.encode({ command }).finish()), done);
}
