import t from 'tap';
import type { MemberChange } from '../../placement/member_changes.js';
import { nextMemberChange } from '../../placement/member_changes.js';
import { memberLagMax, membersMax } from '../../placement/limits.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import type { CommandOutcome } from '../../placement/state/commands.js';

/** 1, 2, 3: members; 4-: leaving. Progress: ok, slow (behind), silent, snapshot. The leader is 1. */
interface Case {
  readonly title: string;
  readonly members: string;
  readonly voters: readonly number[];
  readonly learners?: readonly number[];
  readonly progress?: Readonly<Record<number, 'ok' | 'slow' | 'silent' | 'snapshot'>>;
  readonly settled?: boolean;
  readonly expected: string;
}

const cases: readonly Case[] = [
  { title: 'a group as wanted needs nothing', members: '1 2 3', voters: [1, 2, 3], expected: 'nothing' },
  { title: 'a new member comes as a learner', members: '1 2', voters: [1], expected: 'addLearner 2' },
  {
    title: 'a learner that is behind is waited for',
    members: '1 2',
    voters: [1],
    learners: [2],
    progress: { 2: 'slow' },
    expected: 'wait 2',
  },
  {
    title: 'a learner that receives a snapshot is waited for',
    members: '1 2',
    voters: [1],
    learners: [2],
    progress: { 2: 'snapshot' },
    expected: 'wait 2',
  },
  {
    title: 'a learner that is not heard of is waited for',
    members: '1 2',
    voters: [1],
    learners: [2],
    progress: { 2: 'silent' },
    expected: 'wait 2',
  },
  { title: 'a learner that has caught up votes', members: '1 2', voters: [1], learners: [2], expected: 'promote 2' },
  { title: 'a follower that leaves is removed', members: '1 2 3-', voters: [1, 2, 3], expected: 'remove 3' },
  {
    title: 'a follower does not leave when that would take the majority',
    members: '1 2 3-',
    voters: [1, 2, 3],
    progress: { 2: 'silent' },
    expected: 'wait 3',
  },
  {
    title: 'a dead follower is removed while the others have a majority',
    members: '1 2 3-',
    voters: [1, 2, 3],
    progress: { 3: 'silent' },
    expected: 'remove 3',
  },
  { title: 'a leader hands over before it leaves', members: '1- 2 3', voters: [1, 2, 3], expected: 'handOver 2' },
  {
    title: 'a leader hands over to one that stays and answers',
    members: '1- 2 3 4',
    voters: [1, 2, 3, 4],
    progress: { 2: 'silent', 3: 'slow' },
    expected: 'handOver 4',
  },
  {
    title: 'a leader does not leave while nobody else can lead',
    members: '1- 2 3',
    voters: [1, 2, 3],
    progress: { 2: 'silent', 3: 'slow' },
    expected: 'wait 1',
  },
  {
    title: 'others leave before the leader does',
    members: '1- 2- 3',
    voters: [1, 2, 3],
    expected: 'remove 2',
  },
  { title: 'a member of two leaves one', members: '1 2-', voters: [1, 2], expected: 'remove 2' },
  { title: 'a learner may leave, too', members: '1 2-', voters: [1], learners: [2], expected: 'remove 2' },
  { title: 'one that is out is forgotten', members: '1 2 3-', voters: [1, 2], expected: 'forget 3' },
  {
    title: 'one that is out is not forgotten before no crash can make it needed',
    members: '1 2 3-',
    voters: [1, 2],
    settled: false,
    expected: 'wait 3',
  },
  {
    title: 'additions go first, so that the group does not shrink in between',
    members: '1 2 3- 4',
    voters: [1, 2, 3],
    expected: 'addLearner 4',
  },
  {
    title: 'a learner that never comes does not hold a removal up',
    members: '1 2 3- 4',
    voters: [1, 2, 3],
    learners: [4],
    progress: { 4: 'silent' },
    expected: 'remove 3',
  },
];

function changeOf(given: Case): string {
  const records = given.members.split(' ').map((text) => {
    const memberId = parseInt(text, 10);
    return { memberId, address: `m${memberId}:1`, leaving: text.endsWith('-') };
  });
  const { voters, learners = [] } = given;
  const lastIndex = 1_000;
  const progress = [...voters, ...learners].map((replicaId) => {
    const state = given.progress?.[replicaId] ?? 'ok';
    return {
      replicaId,
      match: state === 'slow' ? lastIndex - memberLagMax - 1 : lastIndex,
      state: state === 'snapshot' ? ('snapshot' as const) : ('replicate' as const),
      recentActive: state !== 'silent',
      learner: learners.includes(replicaId),
    };
  });
  const confState = { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false };
  const change: MemberChange | null = nextMemberChange(
    records,
    { replicaId: 1, confState, progress, lastIndex },
    () => given.settled ?? true,
  );
  return change === null ? 'nothing' : `${change.kind} ${change.memberId}`;
}

for (const given of cases) {
  t.test(given.title, (t) => {
    t.equal(changeOf(given), given.expected);
    t.end();
  });
}

function idOf(outcome: CommandOutcome): number | string {
  if (outcome.ok) return outcome.value;
  const { detail } = outcome.error;
  return detail?.$case === 'failedPrecondition' ? detail.value.reason : (detail?.$case ?? 'untyped');
}

t.test('ids of members are given once, addresses belong to one member, and the last one stays', (t) => {
  const state = new ClusterState();
  const put = (memberId: number, address: string): number | string =>
    idOf(state.apply({ kind: 'putMember', memberId, address }));
  const remove = (memberId: number): number | string => idOf(state.apply({ kind: 'removeMember', memberId }));
  const forget = (memberId: number): number | string => idOf(state.apply({ kind: 'forgetMember', memberId }));
  t.equal(put(3, 'c:1'), 3, 'a first member has the id of its configuration');
  t.equal(remove(3), 'LAST_MEMBER');
  t.equal(put(0, 'd:1'), 4);
  t.equal(put(0, 'd:1'), 4, 'asked for twice');
  t.equal(put(3, 'd:1'), 'alreadyExists');
  t.equal(put(3, 'c:2'), 3, 'it moved');
  t.equal(remove(9), 'MEMBER_NOT_FOUND');
  t.equal(remove(4), 4);
  t.equal(remove(4), 4, 'asked for twice');
  t.equal(put(0, 'd:1'), 'alreadyExists', 'it is still there');
  t.equal(remove(3), 'LAST_MEMBER', 'of those that stay');
  forget(3);
  t.ok(state.members.get(3), 'one that stays is not forgotten');
  forget(4);
  t.equal(state.members.get(4), undefined);
  t.equal(remove(4), 4, 'it is gone, as asked for');
  t.equal(put(4, 'd:1'), 'MEMBER_REMOVED');
  t.equal(put(0, 'd:1'), 5);
  t.end();
});

t.test('past their number members are refused', (t) => {
  const state = new ClusterState();
  for (let i = 1; i <= membersMax; i++) state.apply({ kind: 'putMember', memberId: i, address: `m:${i}` });
  t.equal(idOf(state.apply({ kind: 'putMember', memberId: 0, address: 'm:99' })), 'serverIsBusy');
  t.end();
});
