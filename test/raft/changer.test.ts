import fc from 'fast-check';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { enterJoint, leaveJointChange, simpleChange } from '../../src/raft/confchange/changer.js';
import type { ChangeOutcome } from '../../src/raft/confchange/changer.js';
import { ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfChangeSingle } from '../../src/raft/conf_change.js';
import { checkConfState, emptyConfState, isJoint, memberIds, normalConfState } from '../../src/raft/conf_state.js';
import type { ConfState } from '../../src/raft/message.js';
import { changeOf, voters } from './group.js';

/* Thesis chapter 4. */

const change: fc.Arbitrary<ConfChangeSingle> = fc.record({
  type: fc.constantFrom(...Object.values(ConfChangeType)),
  replicaId: fc.integer({ min: 0, max: 6 }),
});

type Step =
  | { kind: 'simple'; changes: ConfChangeSingle[] }
  | { kind: 'enter'; autoLeave: boolean; changes: ConfChangeSingle[] }
  | { kind: 'leave' };

const changes = fc.array(change, { maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('simple' as const), changes }),
  fc.record({ kind: fc.constant('enter' as const), autoLeave: fc.boolean(), changes }),
  fc.record({ kind: fc.constant('leave' as const) }),
);

function apply(conf: ConfState, s: Step): ChangeOutcome {
  switch (s.kind) {
    case 'simple':
      return simpleChange(conf, s.changes);
    case 'enter':
      return enterJoint(conf, s.autoLeave, s.changes);
    case 'leave':
      return leaveJointChange(conf);
  }
}

/** Every set of replicas that decides under a configuration. */
function quorums(conf: ConfState): number[] {
  const found: number[] = [];
  for (let set = 0; set < 1 << 7; set++) {
    const has = (id: number): boolean => (set & (1 << id)) !== 0;
    const decides = (half: readonly number[]): boolean =>
      half.length === 0 || half.filter(has).length * 2 > half.length;
    if (decides(conf.voters) && decides(conf.votersOutgoing)) found.push(set);
  }
  return found;
}

void t.test('whatever changes are applied, old and new configurations have no disjoint quorums', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let conf = voters(1, 2, 3);
      for (const s of steps) {
        const outcome = apply(conf, s);
        if (!outcome.ok) continue;
        checkConfState(outcome.conf);
        const before = quorums(conf);
        for (const after of quorums(outcome.conf)) {
          if (before.some((set) => (set & after) === 0)) return false;
        }
        if (outcome.conf.voters.length === 0) return false;
        conf = outcome.conf;
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.end();
});

void t.test('members and their fates go together', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let conf = voters(1, 2, 3);
      for (const s of steps) {
        const outcome = apply(conf, s);
        if (!outcome.ok) continue;
        const before = memberIds(conf);
        const same = [...outcome.fates.keys()].sort((a, b) => a - b);
        if (JSON.stringify(same) !== JSON.stringify(memberIds(outcome.conf))) return false;
        for (const [id, fate] of outcome.fates) if (fate === 'kept' && !before.includes(id)) return false;
        conf = outcome.conf;
      }
      return true;
    }),
  );
  t.end();
});

void t.test('a replica that is removed and added in one change is new', (t) => {
  const { changes: both } = changeOf([
    ['remove', 4],
    ['learner', 4],
  ]);
  const outcome = simpleChange({ ...voters(1, 2, 3), learners: [4] }, both);
  t.equal(outcome.ok && outcome.fates.get(4), 'new');
  t.equal(outcome.ok && outcome.fates.get(1), 'kept');
  t.end();
});

void t.test('an outgoing voter that becomes a learner does so when the joint configuration is left', (t) => {
  const entered = enterJoint(voters(1, 2, 3), true, changeOf([['learner', 3]]).changes);
  const joint = must(entered.ok ? entered.conf : null, 'a joint configuration');
  t.strictSame(joint, {
    voters: [1, 2],
    votersOutgoing: [1, 2, 3],
    learners: [],
    learnersNext: [3],
    autoLeave: true,
  });
  const left = leaveJointChange(joint);
  t.strictSame(left.ok && left.conf, { ...voters(1, 2), learners: [3] });
  t.end();
});

void t.test('what does not fit is refused with a reason', (t) => {
  const joint = { ...voters(1), votersOutgoing: [1, 2] };
  const errorOf = (o: ChangeOutcome): string => (o.ok ? 'none' : o.error);
  t.equal(errorOf(simpleChange(joint, [])), 'simpleWhileJoint');
  t.equal(errorOf(enterJoint(joint, false, [])), 'alreadyJoint');
  t.equal(errorOf(leaveJointChange(voters(1))), 'notJoint');
  t.equal(errorOf(enterJoint(emptyConfState, false, [])), 'noVoters');
  t.equal(errorOf(simpleChange(voters(1), changeOf([['remove', 1]]).changes)), 'removedAllVoters');
  const two = changeOf([
    ['add', 2],
    ['add', 3],
  ]).changes;
  t.equal(errorOf(simpleChange(voters(1), two)), 'moreThanOneVoter');
  t.end();
});

void t.test('a configuration from outside is put in order and checked', (t) => {
  const normal = normalConfState({ ...voters(3, 1, 2, 1), learners: [9, 8] });
  t.strictSame(normal.voters, [1, 2, 3]);
  t.strictSame(normal.learners, [8, 9]);
  t.throws(() => normalConfState({ ...voters(1), learners: [1] }), /learner/);
  t.throws(() => normalConfState({ ...voters(1), learnersNext: [2] }), /outgoing/);
  t.throws(() => normalConfState({ ...voters(1), autoLeave: true }), /auto-leave/);
  t.notOk(isJoint(normal));
  t.end();
});
