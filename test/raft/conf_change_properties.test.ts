import fc from 'fast-check';
import t from 'tap';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfChange } from '../../src/raft/conf_change.js';
import { checkConfState, isJoint, memberIds } from '../../src/raft/conf_state.js';
import type { ConfState } from '../../src/raft/message.js';
import { emptyBuffer } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { testConfig, voters } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Membership changes as a peer applies them, in every transition (thesis chapter 4). */

const idMax = 6;
const change: fc.Arbitrary<ConfChange> = fc.record(
  {
    transition: fc.constantFrom(...Object.values(ConfChangeTransition)),
    changes: fc.oneof(
      // Leaves a joint configuration, which nothing else does.
      fc.constant([]),
      fc.array(
        fc.record({
          type: fc.constantFrom(...Object.values(ConfChangeType)),
          replicaId: fc.integer({ min: 1, max: idMax }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    ),
    context: fc.constant(emptyBuffer),
  },
  { noNullPrototype: true },
);

function decides(conf: ConfState, set: number): boolean {
  return [conf.voters, conf.votersOutgoing].every(
    (half) => half.length === 0 || half.filter((id) => (set & (1 << id)) !== 0).length * 2 > half.length,
  );
}

/** True if no quorum of one and quorum of the other are without a common member. */
function overlap(one: ConfState, other: ConfState): boolean {
  const everybody = 2 ** (idMax + 1) - 1;
  // The largest set without a common member is the rest of everybody.
  for (let set = 0; set <= everybody; set++) if (decides(one, set) && decides(other, everybody & ~set)) return false;
  return true;
}

function follower(conf: ConfState): RawNode {
  return new RawNode(testConfig(1), new MemoryRaftStorage(conf));
}

void t.test(
  'configurations that follow each other have overlapping quorums, whatever transition is asked for',
  async (t) => {
    const seen = { joint: 0, left: 0, simple: 0, refused: 0 };
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 14 }), (changes) => {
        const node = follower(voters(1, 2, 3));
        for (const c of changes) {
          const before = node.confState;
          const after = node.applyConfChange(c);
          checkConfState(after);
          if (after !== node.confState || after.voters.length === 0 || !overlap(before, after)) return false;
          if (after === before) seen.refused++;
          else if (isJoint(after)) seen.joint++;
          else if (isJoint(before)) seen.left++;
          else seen.simple++;
        }
        return true;
      }),
      { numRuns: 300 },
    );
    t.ok(Math.min(...Object.values(seen)) > 10, `every way was taken: ${JSON.stringify(seen)}`);
  },
);

void t.test('the check of overlap can fail: a jump between unrelated majorities is seen', async (t) => {
  t.notOk(overlap(voters(1, 2, 3), voters(1, 4, 5)));
  t.notOk(overlap(voters(1), voters(1, 2, 3)), 'two joint changes skipped: {1} and {2, 3}');
  t.ok(overlap(voters(1, 2, 3), voters(1, 2, 3, 4)));
  t.ok(overlap(voters(1, 2, 3), { ...voters(4, 5, 6), votersOutgoing: [1, 2, 3] }));
});

void t.test('a joint configuration leaves by itself unless the change said explicit', async (t) => {
  let joint = 0;
  fc.assert(
    fc.property(change, (c) => {
      const after = follower(voters(1, 2, 3)).applyConfChange(c);
      if (!isJoint(after)) return !after.autoLeave;
      joint++;
      const single = c.transition === ConfChangeTransition.Auto && c.changes.length === 1;
      return !single && after.autoLeave === (c.transition !== ConfChangeTransition.JointExplicit);
    }),
    { numRuns: 300 },
  );
  t.ok(joint > 50, `${joint} changes were joint`);
});

void t.test(
  'entering and leaving gives what the operations say, in whatever order voters and learners swap',
  async (t) => {
    let compared = 0;
    fc.assert(
      fc.property(change, (c) => {
        const node = follower({ ...voters(1, 2, 3), learners: [4] });
        const after = node.applyConfChange({ ...c, transition: ConfChangeTransition.JointImplicit });
        if (!isJoint(after)) return true;
        compared++;
        const left = node.applyConfChange({ transition: ConfChangeTransition.Auto, changes: [], context: emptyBuffer });
        const wanted = new Map<number, 'voter' | 'learner'>([1, 2, 3].map((id) => [id, 'voter']));
        wanted.set(4, 'learner');
        for (const { type, replicaId } of c.changes) {
          if (type === ConfChangeType.AddNode) wanted.set(replicaId, 'voter');
          else if (type === ConfChangeType.AddLearnerNode) wanted.set(replicaId, 'learner');
          else if (type === ConfChangeType.RemoveNode) wanted.delete(replicaId);
        }
        const roleOf = (id: number): string | undefined =>
          left.voters.includes(id) ? 'voter' : left.learners.includes(id) ? 'learner' : undefined;
        return memberIds(left).length === wanted.size && [...wanted].every(([id, role]) => roleOf(id) === role);
      }),
      { numRuns: 300 },
    );
    t.ok(compared > 50, `${compared} changes were compared`);
  },
);
