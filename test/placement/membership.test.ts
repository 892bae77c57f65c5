import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { AdminClient, MetaClient, SkerryError } from '../../src/client/index.js';
import { MemberRole } from '../../src/gen/skerry/v1/members.js';
import type { PlacementMachine } from '../sim/placement_machine.js';
import { PlacementGroup } from './support/placement_group.js';

// A guard against hanging, not a measurement: the machine may be busy.
t.setTimeout(280_000);

/** Adds a member and starts its machine, until it votes. */
async function grow(group: PlacementGroup): Promise<PlacementMachine> {
  const machine = await growByOne(group);
  await group.untilVoters(group.running);
  return machine;
}

/** The same while others are down. */
async function growByOne(group: PlacementGroup): Promise<PlacementMachine> {
  const machine = group.newMachine();
  const admin = await group.admin(group.leader);
  await group.clock.resolve(admin.addMember(machine.name));
  machine.boot();
  await group.clock.until(() => machine.state === 'running', 'it joins');
  const votes = (): boolean => group.memberOf(machine).groupStatus().confState.voters.includes(machine.memberId);
  await group.clock.until(votes, 'it votes');
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

t.test(
  'a member that was away while all that it knew were replaced is found, also when its vote is needed',
  async (t) => {
    const group = await PlacementGroup.start(3);
    const { clock } = group;
    const away = must(group.others[0], 'a follower');
    const replaced = group.running.filter((machine) => machine !== away);
    away.powerCut();
    const joined = [await growByOne(group), await growByOne(group)];
    for (const machine of replaced) {
      const admin = await group.admin(must(joined[0], 'a new member'));
      await clock.resolve(admin.removeMember(machine.memberId, true));
      await clock.until(() => machine.wasRemoved, 'it leaves');
      admin.close();
      await group.untilLed();
    }
    const meta = await group.meta(group.others[0]);
    await clock.resolve(meta.set('before', '1'));
    group.leader.powerCut();
    away.boot();
    const leader = await group.untilLed();
    await clock.until(() => group.memberOf(away).leaderId() === leader.memberId, 'it follows the new leader');
    await clock.resolve(meta.set('after', '2'));
    await clock.until(
      () => group.memberOf(away).state.metadata.get('after') !== undefined,
      'it has what was written since',
    );
    t.equal(group.memberOf(away).state.metadata.get('before')?.value.toString(), '1');
  },
);

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

/** Members are added and removed at random among power cuts and a network that loses frames; a client writes all the while. */
class Turmoil {
  private readonly group: PlacementGroup;
  private readonly prng: Prng;
  private readonly acked: string[] = [];
  /** Whose addition is not known to have got through. */
  private pending: PlacementMachine[] = [];

  constructor(group: PlacementGroup, prng: Prng) {
    this.group = group;
    this.prng = prng;
    group.onUnexpected = (error) => {
      if (!error.message.includes('nobody has added')) throw error;
    };
  }

  async step(name: string): Promise<void> {
    const { group, prng } = this;
    const { clock } = group;
    const running = Promise.all([this.write(name), this.change(prng.int(0, 9))]);
    await clock.advance(prng.int(50, 1_500));
    this.bootAll();
    await clock.resolve(running);
  }

  /** Ends the faults. */
  async converge(): Promise<void> {
    const { group } = this;
    group.net.calm();
    this.bootAll();
    for (let round = 0; this.pending.length > 0; round++) {
      if (round > 20) throw new Error('additions do not get through');
      const again = this.pending.splice(0);
      for (const machine of again) await group.clock.resolve(this.add(machine));
    }
    try {
      await group.clock.until(() => this.isInOrder(), 'the group is as its records say', 120_000);
    } catch (error) {
      throw new Error(this.describe(), { cause: error });
    }
  }

  /** Keys that a member lacks although their writes were acknowledged. */
  lost(): string[] {
    return this.group.running.flatMap((machine) => {
      const { metadata } = this.group.memberOf(machine).state;
      return this.acked.filter((key) => metadata.get(key) === undefined);
    });
  }

  get ackedCount(): number {
    return this.acked.length;
  }

  private stays(): PlacementMachine[] {
    return this.group.machines.filter((m) => !m.wasRemoved && !this.pending.includes(m));
  }

  private bootAll(): void {
    for (const machine of this.stays()) if (machine.state === 'down') machine.boot();
  }

  private async change(draw: number): Promise<void> {
    const { group, prng } = this;
    const stays = this.stays();
    const victim = must(stays[prng.int(0, stays.length - 1)], 'a machine');
    if (draw <= 1 && group.machines.length < 9) await this.add(group.newMachine());
    else if (draw <= 3 && victim.memberId !== 0) await this.remove(victim);
    else if (draw <= 6 && victim.state !== 'down') victim.powerCut();
  }

  private async add(machine: PlacementMachine): Promise<void> {
    this.pending.push(machine);
    const added = await this.attempt((admin) => admin.addMember(machine.name));
    if (!added) return;
    this.pending = this.pending.filter((m) => m !== machine);
    machine.boot();
  }

  private async remove(machine: PlacementMachine): Promise<void> {
    await this.attempt((admin) => admin.removeMember(machine.memberId));
  }

  private async attempt(act: (admin: AdminClient) => Promise<unknown>): Promise<boolean> {
    try {
      const admin = await AdminClient.connect(this.options());
      await act(admin).finally(() => admin.close());
      return true;
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
      return false;
    }
  }

  private async write(key: string): Promise<void> {
    try {
      const meta = await MetaClient.connect(this.options());
      await meta.set(key, key).finally(() => meta.close());
      this.acked.push(key);
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
    }
  }

  /** Reaches whatever there is: the first members may all be gone. */
  private options() {
    return { ...this.group.clientOptions(), placement: this.group.machines.map((m) => m.name), timeoutMs: 2_000 };
  }

  private describe(): string {
    const lines = this.group.machines.map(({ name, memberId, state, wasRemoved, member }) => {
      const head = `${name} ${memberId} ${state}${wasRemoved ? ' removed' : ''}`;
      if (member === null) return head;
      const { role, term, leaderId, confState, applied, commit } = member.groupStatus();
      const { membersVersion } = member.state.metaRecord;
      const records = member.state.members.all().map((m) => `${m.memberId}${m.leaving ? '-' : ''}`);
      const change = JSON.stringify(member.memberChange);
      const group = `[${confState.voters.join(' ')}] learners [${confState.learners.join(' ')}]`;
      return `${head} ${role} ${term} of ${leaderId} at ${applied}/${commit} ${group} v${membersVersion} ${records.join(' ')} ${change}`;
    });
    return `the group is not as its records say:\n${lines.join('\n')}`;
  }

  private isInOrder(): boolean {
    const { group } = this;
    const running = group.running;
    const ids = running.map((m) => m.memberId).sort((a, b) => a - b);
    const lastIndex = Math.max(...running.map((m) => group.memberOf(m).groupStatus().lastIndex));
    return running.every((machine) => {
      const { state } = group.memberOf(machine);
      const { confState, applied } = group.memberOf(machine).groupStatus();
      const { voters, learners } = confState;
      if (applied < lastIndex) return false;
      const recorded = state.members.all().map((m) => m.memberId);
      const sorted = [...voters].sort((a, b) => a - b);
      return learners.length === 0 && recorded.join() === ids.join() && sorted.join() === ids.join();
    });
  }
}

for (let seed = 1; seed <= 12; seed++) {
  t.test(`turmoil ${seed}: members come and go under faults, and no acknowledged write is lost`, async (t) => {
    const prng = new Prng(seed);
    const group = await PlacementGroup.start(prng.int(0, 1) === 0 ? 1 : 3);
    group.net.setWeather(5, 0.02);
    const turmoil = new Turmoil(group, prng);
    for (let step = 0; step < 30; step++) await turmoil.step(`step ${step}`);
    await turmoil.converge();
    t.ok(turmoil.ackedCount > 5, `${turmoil.ackedCount} acknowledged`);
    t.same(turmoil.lost(), []);
  });
}
