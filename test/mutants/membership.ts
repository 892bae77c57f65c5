import { inCore, mutant } from './mutant.js';
import type { Mutant } from './mutant.js';

/* Membership changes, quorums and replication sessions: thesis chapter 4. */

const changeFaults: readonly Mutant[] = [
  mutant(
    'second-change-while-one-is-unapplied',
    'INV-9, thesis §4.1',
    'membership',
    'proposals',
    "  if (leadership.pendingConfIndex > core.log.applied) return 'pending';\n",
    '',
  ),
  mutant(
    'change-before-the-predecessors-entries-are-applied',
    'INV-9, thesis §4.1',
    'membership',
    'roles/transitions',
    'pendingConfIndex: last,',
    'pendingConfIndex: 0,',
  ),
  mutant(
    'accepted-change-is-not-noted-as-pending',
    'INV-9, thesis §4.1',
    'membership',
    'proposals',
    '    leadership.pendingConfIndex = first + i;\n',
    '',
  ),
  mutant(
    'change-while-joint',
    'INV-9, thesis §4.3',
    'membership',
    'proposals',
    "  if (isJoint(core.conf) && !leaves) return 'joint';\n",
    '',
  ),
  mutant(
    'leaving-what-is-not-joint',
    'INV-9, thesis §4.3',
    'membership',
    'proposals',
    "  if (!isJoint(core.conf) && leaves) return 'notJoint';\n",
    '',
  ),
  mutant(
    'two-voters-change-at-once',
    'INV-9, thesis §4.1: old and new majorities overlap',
    'changer',
    'confchange/changer',
    'if (differences(conf.voters, draft.voters) > 1)',
    'if (differences(conf.voters, draft.voters) > 2)',
  ),
  mutant(
    'several-changes-skip-the-joint-configuration',
    'INV-9, thesis §4.3',
    'changer',
    'confchange/changer',
    'const draft = draftOf(conf, conf.voters);',
    'const draft = draftOf(conf, []);',
  ),
  mutant(
    'demoted-voter-is-learner-at-once',
    'INV-9, thesis §4.3: it still votes in the outgoing half',
    'changer',
    'confchange/changer',
    '  if (draft.outgoing.includes(id)) draft.learnersNext.add(id);\n  else draft.learners.add(id);',
    '  draft.learners.add(id);',
  ),
  mutant(
    'demoted-voter-is-lost',
    'thesis §4.3',
    'changer',
    'confchange/changer',
    '  for (const id of draft.learnersNext) draft.learners.add(id);\n',
    '',
  ),
  mutant(
    'last-voter-can-be-removed',
    'thesis §4.1',
    'changer',
    'confchange/changer',
    "  if (draft.voters.size === 0) return { ok: false, error: 'removedAllVoters' };\n  if (differences",
    '  if (differences',
  ),
  mutant(
    'joint-configuration-is-not-left-by-itself',
    'thesis §4.3',
    'membership',
    'membership',
    'if (leadership === null || !core.conf.autoLeave ||',
    'if (leadership === null || core.conf.autoLeave ||',
  ),
  mutant(
    'joint-configuration-is-left-again-and-again',
    'INV-9',
    'membership',
    'membership',
    ' || core.log.applied < leadership.pendingConfIndex) return;',
    ') return;',
  ),
  mutant(
    'removed-leader-stays',
    'thesis §4.2.2',
    'membership',
    'membership',
    '    if (core.config.stepDownOnRemoval) becomeFollower(core, core.term, none);\n',
    '',
  ),
  mutant(
    'changed-quorum-commits-nothing',
    'thesis §4.1: nothing else may ask again',
    'membership',
    'membership',
    '  refreshQuorum(core, leadership);\n}\n\n/** A changed',
    '}\n\n/** A changed',
  ),
  mutant(
    'change-from-before-a-snapshot-is-applied-to-it',
    'INV-9',
    'membership',
    'membership',
    'if (core.supersededConf === null) switchTo(core, outcome.conf, outcome.fates);',
    'if (core.id !== none) switchTo(core, outcome.conf, outcome.fates);',
  ),
];

const quorumFaults: readonly Mutant[] = [
  mutant(
    'one-less-than-a-majority-commits',
    'INV-4, Raft §5.3: more than half',
    'quorum',
    'quorum/majority',
    'return values[n - majoritySize(n)] ?? 0;',
    'return values[n - majoritySize(n) + 1] ?? 0;',
  ),
  mutant(
    'half-is-a-majority',
    'INV-1, INV-4, Raft §5.2: more than half',
    'quorum',
    'quorum/majority',
    'return Math.floor(n / 2) + 1;',
    'return Math.ceil(n / 2);',
  ),
  mutant(
    'incoming-half-commits-alone',
    'INV-9, thesis §4.3',
    'quorum',
    'quorum/joint',
    'return Math.min(incoming, outgoing);',
    'return incoming;',
  ),
  mutant(
    'one-half-wins-an-election',
    'INV-1, thesis §4.3',
    'quorum',
    'quorum/joint',
    '  if (a === b) return a;\n',
    "  if (a === 'won' || a === b) return a;\n",
  ),
  mutant(
    'outgoing-half-is-not-asked-for-votes',
    'thesis §4.3',
    'membership',
    'election',
    'for (const id of voterIds(core.conf)) {',
    'for (const id of core.conf.voters) {',
  ),
  mutant(
    'learners-count-for-commitment',
    'INV-4, thesis §4.2.1',
    'membership',
    'tracker/peer_table',
    'this.incoming = conf.voters.map(progressOf);',
    'this.incoming = members;',
  ),
  mutant(
    'quorum-of-the-incoming-half-is-active-enough',
    'thesis §4.3, §6.2',
    'membership',
    'tracker/peer_table',
    'majorityActive(this.incoming) && majorityActive(this.outgoing)',
    'majorityActive(this.incoming)',
  ),
];

const sessionFaults: readonly Mutant[] = [
  mutant(
    'late-acknowledgement-to-an-earlier-member-counts',
    'INV-12, known fault of peers: progress corrupted by a late ack after remove and add',
    'membership',
    'roles/leader',
    '  if (m.from !== core.id && m.context !== peer.session) return stepOk;\n',
    '',
  ),
  mutant(
    'member-that-came-back-has-the-old-session',
    'INV-12, known fault of peers: progress corrupted by a late ack after remove and add',
    'membership',
    'tracker/peer_table',
    '      this.removals.set(peer.id, (this.removals.get(peer.id) ?? 0) + 1);\n',
    '',
  ),
  mutant(
    'member-that-came-back-in-one-change-keeps-its-progress',
    'INV-12',
    'membership',
    'tracker/peer_table',
    "const known = fates.get(id) === 'kept' ? this.find(id) : null;",
    'const known = this.find(id);',
  ),
  mutant(
    'appends-carry-no-session',
    'INV-12',
    'membership',
    'replication',
    '  m.context = peer.session;\n  core.send(m);\n  peer.sentEntries',
    '  core.send(m);\n  peer.sentEntries',
  ),
  mutant(
    'snapshots-carry-no-session',
    'INV-12',
    'membership',
    'replication',
    '  m.context = peer.session;\n  core.send(m);\n  core.config',
    '  core.send(m);\n  core.config',
  ),
  mutant('followers-do-not-echo-the-session', 'INV-12', 'membership', 'core', '    m.context = session;\n', ''),
  {
    name: 'removed-and-added-in-one-change-is-the-same-member',
    breaks: 'INV-12: its disk is new',
    edits: [inCore('confchange/changer', '      if (!draft.outgoing.includes(id)) draft.fates.delete(id);\n', '')],
    killedBy: ['raft/changer'],
  },
];

const placementFaults: readonly Mutant[] = [
  {
    name: 'member-with-an-old-list-does-not-dial-the-new-members',
    breaks:
      'a member is found by the others after all that it knew were replaced (simulator, seeds 8, 18 and 268 at 25e0482)',
    edits: [
      {
        file: 'placement/placement_member.ts',
        find: 'this.newerList = list;',
        replace: '',
      },
    ],
    killedBy: ['placement/membership'],
  },
];

export const membership: readonly Mutant[] = [...changeFaults, ...quorumFaults, ...sessionFaults, ...placementFaults];
