import { Command } from 'commander';
import type { MemberStatus } from '../gen/skerry/v1/members.js';
import { MemberRole } from '../gen/skerry/v1/members.js';
import { commonOptions, wholeNumber, withAdmin } from './context.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { message, printJson, printRows } from './output.js';

export interface MemberView {
  readonly memberId: number;
  readonly address: string;
  readonly role: string;
  readonly leader: boolean;
  readonly leaving: boolean;
  readonly reachable: boolean;
  readonly lag: number;
  readonly waitsFor: string;
}

export function memberView(member: MemberStatus): MemberView {
  const { memberId, address, role, leader, leaving, reachable, lag, waitsFor } = member;
  return { memberId, address, role: nameOfValue(MemberRole, role), leader, leaving, reachable, lag, waitsFor };
}

const memberColumns: readonly Column<MemberView>[] = [
  { title: 'MEMBER', value: (m) => m.memberId },
  { title: 'ADDRESS', value: (m) => m.address },
  { title: 'ROLE', value: (m) => (m.leader ? `${m.role}, leads` : m.role) },
  {
    title: 'STATE',
    value: (m) => [m.reachable ? 'reachable' : 'silent', ...(m.leaving ? ['leaving'] : [])].join(', '),
  },
  { title: 'LAG', value: (m) => m.lag },
  { title: 'WAITS FOR', value: (m) => m.waitsFor },
];

/** `skerry placement`: the placement members themselves. */
export function placementCommand(): Command {
  const list = new Command('list').description('list the members').action((_flags: unknown, command: Command) =>
    withAdmin(command, async (admin) => {
      await printRows(command, (await admin.listMembers()).map(memberView), memberColumns);
    }),
  );
  const add = new Command('add')
    .description('take a new member in; it votes once it has caught up')
    .argument('<address>', 'host:port that the others reach it at')
    .option('--wait', 'wait until it votes')
    .action((address: string, flags: { wait?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const wait = flags.wait ?? false;
        const memberId = await admin.addMember(address, wait);
        if (commonOptions(command).output === 'json') await printJson({ memberId, address });
        if (wait) message(`placement member ${memberId} votes`);
        else
          message(`placement member ${memberId}: start it with --join and --address ${address}, on an empty directory`);
      }),
    );
  const remove = new Command('remove')
    .description('take a member out; one that leads hands over first')
    .argument('<member>', 'member id', wholeNumber(1))
    .option('--wait', 'wait until it is out')
    .option(
      '--force',
      'even if stores have heard of no member that stays: they find placement by their configuration alone',
    )
    .action((memberId: number, flags: { wait?: boolean; force?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const { wait = false, force = false } = flags;
        await admin.removeMember(memberId, wait, force);
        message(wait ? `placement member ${memberId} is out` : `placement member ${memberId} leaves`);
      }),
    );
  const member = new Command('member')
    .description('list, add and remove placement members')
    .addCommand(list)
    .addCommand(add)
    .addCommand(remove);
  return new Command('placement').description('manage the placement service itself').addCommand(member);
}
