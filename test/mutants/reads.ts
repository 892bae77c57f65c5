import { inCore, mutant } from './mutant.js';
import type { Mutant } from './mutant.js';

/* ReadIndex and leases: Raft §8, thesis §6.4. */

const roundFaults: readonly Mutant[] = [
  mutant(
    'read-without-a-round',
    'INV-10, thesis §6.4: a deposed leader would serve stale reads',
    'reads',
    'reads',
    'if (leadership.ownTermCommitted && hasLease(core, leadership)) {',
    'if (leadership.ownTermCommitted) {',
  ),
  mutant(
    'lease-read-before-an-own-term-commit',
    'INV-10, Raft §8',
    'reads',
    'reads',
    'if (leadership.ownTermCommitted && hasLease(core, leadership)) {',
    'if (hasLease(core, leadership)) {',
  ),
  mutant(
    'round-read-before-an-own-term-commit',
    'INV-10, Raft §8',
    'reads',
    'reads',
    'return leadership.ownTermCommitted && leadership.reads.hasFresh;',
    'return leadership.reads.hasFresh;',
  ),
  mutant(
    'heartbeat-enlists-reads-before-an-own-term-commit',
    'INV-10, Raft §8',
    'reads',
    'replication',
    'if (leadership.ownTermCommitted) reads.enlist(core.log.commit);',
    'reads.enlist(core.log.commit);',
  ),
  mutant(
    'read-index-from-before-the-own-term-commit',
    'INV-10, thesis §6.4: the index of the read is current',
    'reads',
    'read_rounds',
    'index: Math.max(read.index, commit)',
    'index: read.index',
  ),
  {
    name: 'rounds-are-keyed-by-the-callers-context',
    breaks:
      'INV-10, known fault of peers: a late answer to an earlier attempt with the same context confirms the later one',
    edits: [
      inCore(
        'read_rounds',
        '    const round = Math.max(this.current + 1, tick * roundsPerTickMax);\n',
        '    const round = Math.max(this.freshReads[0]?.context ?? this.current, 1);\n',
      ),
    ],
    killedBy: ['raft/reads'],
  },
  mutant('round-that-was-never-sent-counts', 'INV-10', 'reads', 'reads', ' || round > leadership.reads.round', ''),
  mutant(
    'round-of-an-earlier-member-of-the-id-counts',
    'INV-10, INV-12, known fault of peers: progress across remove and add',
    'reads',
    'reads',
    'round <= peer.roundFloor || ',
    '',
  ),
  mutant(
    'somebody-elses-answer-to-a-read-counts',
    'INV-10: only the leader that was asked knows',
    'reads',
    'roles/follower',
    '  if (m.from !== core.leaderId) return stepOk;\n',
    '',
  ),
];

const answerFaults: readonly Mutant[] = [
  mutant(
    'deposed-leader-drops-its-reads',
    'INV-11, known fault of peers: reads dropped without an answer',
    'reads',
    'reads',
    'for (const read of leadership.reads.drain()) answerRead(core, read, readFailedIndex);',
    'leadership.reads.drain();',
  ),
  mutant(
    'follower-with-a-new-leader-drops-its-reads',
    'INV-11, known fault of peers: reads dropped without an answer',
    'reads',
    'reads',
    '  for (const read of core.forwardedReads) core.readStates.push({ index: readFailedIndex, context: read.context });\n',
    '',
  ),
  mutant(
    'read-without-a-leader-is-dropped',
    'INV-11, known fault of peers: reads dropped without an answer',
    'reads',
    'reads',
    '    core.readStates.push({ index: readFailedIndex, context });\n    return false;',
    '    return false;',
  ),
  mutant(
    'read-past-the-limit-is-dropped',
    'INV-11, INV-63',
    'reads',
    'reads',
    '  if (!leadership.reads.add(read)) answerRead(core, read, readFailedIndex);\n',
    '  leadership.reads.add(read);\n',
  ),
  mutant(
    'read-asked-of-a-follower-is-dropped',
    'INV-11, known fault of peers: reads dropped without an answer',
    'reads',
    'roles/follower',
    '  answer.reject = true;\n  core.send(answer);\n  return stepOk;\n};\n\nexport const handleReadAnswer',
    '  return stepOk;\n};\n\nexport const handleReadAnswer',
  ),
  mutant(
    'forwarded-read-waits-for-ever',
    'INV-11: questions and answers get lost',
    'reads',
    'tick',
    'core.forwardedReads !== null && expireForwardedReads(core);',
    'core.id === none;',
  ),
  mutant(
    'late-answer-is-a-second-answer',
    'INV-11: exactly one answer',
    'reads',
    'reads',
    '  if (forwardedReads === null || at === -1) return;\n  forwardedReads.splice(at, 1);\n  if (forwardedReads.length',
    '  forwardedReads?.splice(at, 1);\n  if (forwardedReads?.length',
  ),
  mutant(
    'forgotten-leader-takes-the-reads-along',
    'INV-11',
    'reads',
    'roles/follower',
    '  failForwardedReads(core);\n  core.leaderId = none;',
    '  core.leaderId = none;',
  ),
  {
    name: 'host-uses-one-read-context-for-all-attempts',
    breaks: 'INV-10, INV-11, known fault of peers: ReadIndex keyed by a context that is not fresh',
    edits: [
      {
        file: 'src/multiraft/peer_reads.ts',
        find: 'const context = this.parts.nextReadContext();',
        replace: 'const context = 1;',
      },
    ],
    killedBy: ['multiraft/reads'],
  },
  {
    name: 'host-drops-reads-whose-round-failed',
    breaks: 'INV-11, known fault of peers: reads dropped without an answer',
    edits: [
      {
        file: 'src/multiraft/read_waiters.ts',
        find: '    this.asked.delete(context);\n    this.settle(round.dones, failure);\n',
        replace: '    this.asked.delete(context);\n',
      },
    ],
    killedBy: ['multiraft/reads'],
  },
];

const leaseFaults: readonly Mutant[] = [
  {
    name: 'promise-begins-with-the-last-turn',
    breaks: 'INV-15: a voter promises from when it hears its leader',
    edits: [{ file: 'src/multiraft/inbound.ts', find: '      this.host.leaseClock.stampNow();\n', replace: '' }],
    killedBy: ['multiraft/leases'],
  },
  mutant(
    'lease-is-still-being-leader',
    'INV-15, known fault of peers: a lease that outlives an election',
    'reads',
    'reads',
    'return round > 0 && leadership.reads.givesLease(round, core.ticks, electionTick - leaseMarginTicks);',
    "return core.role === 'leader';",
  ),
  mutant(
    'lease-lasts-while-the-quorum-was-active-lately',
    'INV-15, known fault of peers: CheckQuorum as a lease',
    'reads',
    'reads',
    'return round > 0 && leadership.reads.givesLease(round, core.ticks, electionTick - leaseMarginTicks);',
    'return leadership.peers.quorumActive();',
  ),
  mutant(
    'lease-has-no-margin',
    'INV-15: clocks differ',
    'reads',
    'reads',
    'electionTick - leaseMarginTicks',
    'electionTick',
  ),
  {
    name: 'lease-runs-from-the-answer',
    breaks: 'INV-15, thesis §6.4.1: it runs from the start of the round',
    edits: [
      inCore(
        'read_rounds',
        'tick - Math.floor(round / roundsPerTickMax) <= leaseTicks',
        'tick - this.answeredAt <= leaseTicks',
      ),
      inCore('read_rounds', '  private waitingCount = 0;\n', '  private waitingCount = 0;\n  answeredAt = 0;\n'),
      inCore(
        'reads',
        '  peer.ackedRound = round;\n',
        '  peer.ackedRound = round;\n  leadership.reads.answeredAt = core.ticks;\n',
      ),
    ],
    killedBy: ['raft/reads'],
  },
  mutant(
    'voided-lease-is-used',
    'INV-15: none after a stall',
    'reads',
    'read_rounds',
    'return round > this.voidTo && ',
    'return ',
  ),
  mutant(
    'campaign-against-the-own-promise',
    'INV-15: its own vote is promised as well',
    'reads',
    'election',
    '  if (!transfer && keepsLeasePromise(core)) return;\n',
    '',
  ),
  mutant(
    'promise-is-lost-at-restart',
    'INV-15',
    'reads',
    'core',
    'this.leaderHeardAt = this.term > 0 ? 0 : -config.electionTick;',
    'this.leaderHeardAt = -config.electionTick;',
  ),
  mutant(
    'promise-ends-with-the-term',
    'INV-15, known fault of peers: a lease that outlives an election',
    'reads',
    'election',
    '  return keepsLeasePromise(core);\n}\n\n/**\n * Under lease-based',
    '  return false;\n}\n\n/**\n * Under lease-based',
  ),
  mutant(
    'promise-does-not-bind-in-the-own-term',
    'INV-15',
    'reads',
    'step',
    'return m.term === core.term && keepsLeasePromise(core);',
    'return false;',
  ),
  mutant(
    'leader-with-a-lease-is-forgotten',
    'INV-15: whoever forgets it may vote',
    'election',
    'roles/follower',
    "  if (core.config.readOnlyOption === 'leaseBased' && core.config.leaseClock === undefined) {",
    '  if (core.id === none) {',
  ),
  mutant(
    'lease-reads-without-check-quorum',
    'INV-15: nobody would keep a promise',
    'proposals',
    'config',
    "  assert(c.readOnlyOption === 'safe' || c.checkQuorum, 'raft: lease-based reads rest on CheckQuorum');\n",
    '',
  ),
];

export const reads: readonly Mutant[] = [...roundFaults, ...answerFaults, ...leaseFaults];
