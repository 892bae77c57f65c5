import t from 'tap';
import { must } from '../../src/base/assert.js';
import { SkerryError } from '../../src/client/index.js';
import { MemberRole } from '../../src/gen/skerry/v1/members.js';
import type { PlacementMachine } from '../sim/placement_machine.js';
import { PlacementGroup } from './support/placement_group.js';

/** Adds a member and starts its machine, until it votes. */
async function grow(group: PlacementGroup): Promise<PlacementMachine> {
  const machine = group.newMachine();
  const admin = await group.admin(group.leader);
  await group.clock.resolve(admin.addMember(machine.name));
  machine.boot();
  await group.clock.until(() => machine.state === 'running', 'it joins');
  await group.untilVoters(group.running);
  admin.close();
  return machine;
}

t.test('a group of one grows to three, and then goes on without its first member', async (t) => {
  const group = await PlacementGroup.start(1);
  const { clock } = group;
  const meta = await group.meta();
  await clock.resolve(meta.set('before', '1'));
  const first = group.leader;
  const second = await grow(group);
  const third = await grow(group);
  t.same([second.memberId, third.memberId], [2, 3]);
  for (const machine of [second, third]) {
    t.equal(group.memberOf(machine).state.metadata.get('before')?.value.toString(), '1', 'by a snapshot');
  }
  const late = await group.meta();
  first.powerCut();
  await group.untilLed();
  await clock.resolve(late.set('after', '2'));
  t.equal(
    (await clock.resolve(late.get('before')))?.value.toString(),
    '1',
    'whoever talked to the group knows the others',
  );
});

t.test('a leader that is removed hands over first, its process ends, and its id never comes again', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const old = group.leader;
  const others = group.others;
  const admin = await group.admin(must(others[0], 'another member'));
  await clock.resolve(admin.removeMember(old.memberId, true));
  await clock.until(() => old.wasRemoved, 'it hears that it was removed');
  await group.untilLed();
  await group.untilVoters(others);
  await clock.resolve(admin.removeMember(old.memberId, true), 1_000);
  old.wasRemoved = false;
  old.boot();
  await clock.until(() => old.wasRemoved, 'a directory of a removed member is of no use any more');
  const joined = await grow(group);
  t.equal(joined.memberId, 4);
  const list = await clock.resolve(admin.listMembers());
  t.same(
    list.map((m) => [m.memberId, m.role, m.reachable]),
    [...others.map((m) => m.memberId), 4].sort((a, b) => a - b).map((id) => [id, MemberRole.VOTER, true]),
  );
});

t.test('a process that nobody has added does not join', async (t) => {
  const group = await PlacementGroup.start(1);
  const stranger = group.newMachine();
  let refusal = '';
  group.onUnexpected = (error) => (refusal = error.message);
  stranger.boot();
  await group.clock.until(() => refusal !== '', 'it is refused');
  t.match(refusal, /nobody has added/);
  const admin = await group.admin();
  t.equal(await group.clock.resolve(admin.addMember(stranger.name)), 2);
  t.equal(await group.clock.resolve(admin.addMember(stranger.name)), 2, 'twice is once');
  await group.clock.until(() => stranger.state === 'running', 'its supervisor starts it again');
  await group.untilVoters(group.running);
});

t.test('crashes of the leader and of the new member only delay a change', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const admin = await group.admin();
  const machine = group.newMachine();
  await clock.resolve(admin.addMember(machine.name));
  group.leader.powerCut();
  machine.boot();
  for (let round = 0; round < 8; round++) {
    await clock.advance(37 * (round + 1));
    const victim = round % 2 === 0 ? machine : must(group.machines[round % 3], 'a machine');
    if (victim.state !== 'down') victim.powerCut();
    await clock.advance(50);
    for (const down of group.machines) if (down.state === 'down') down.boot();
  }
  await clock.until(() => group.running.length === 4, 'all run');
  await group.untilVoters(group.running);
  t.equal(machine.memberId, 4);
});

t.test('a removal that would take the majority waits, and says for what', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const [one, two] = group.others;
  if (one === undefined || two === undefined) throw new Error('three members');
  const admin = await group.admin(group.leader);
  one.powerCut();
  await clock.resolve(admin.removeMember(two.memberId));
  await clock.advance(5_000);
  const waits = (await clock.resolve(admin.listMembers())).find((m) => m.memberId === two.memberId);
  t.match(waits, { role: MemberRole.VOTER, leaving: true, waitsFor: /of the 2 voters that would be left only 1/ });
  one.boot();
  await clock.until(() => two.wasRemoved, 'it leaves once the other is back');
  await group.untilVoters([group.leader, one]);
});

t.test('all members are replaced one after the other while a client writes, and nothing is lost', async (t) => {
  const group = await PlacementGroup.start(3);
  const { clock } = group;
  const first = [...group.machines];
  const written: string[] = [];
  let writer = await group.meta();
  const write = async (key: string): Promise<void> => {
    for (;;) {
      try {
        await clock.resolve(writer.set(key, key));
        written.push(key);
        return;
      } catch (error) {
        if (!(error instanceof SkerryError) || error.code !== 'UNDETERMINED') throw error;
      }
    }
  };
  for (const leaving of first) {
    await write(`before ${leaving.name}`);
    await grow(group);
    await write(`grown ${leaving.name}`);
    const admin = await group.admin(group.leader);
    await clock.resolve(admin.removeMember(leaving.memberId));
    await write(`leaving ${leaving.name}`);
    await clock.until(() => leaving.wasRemoved, 'it leaves');
    await group.untilLed();
    // A client that asks by itself has no stream that tells it of changes: it asks anew when it connects.
    writer.close();
    writer = await group.meta(group.leader);
  }
  await group.untilVoters(group.running);
  t.equal(group.running.length, 3);
  for (const key of written) t.ok(await clock.resolve(writer.exists(key)), key);
});
