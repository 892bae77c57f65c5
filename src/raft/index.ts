/**
 * The Raft core: one peer of one group, as a pure state machine. Same storage, same config, same calls: same Readys. It
 * does no I/O, has no clock and no randomness of its own; index numbers, terms and ids are numbers below 2^53, payloads are
 * Buffers that pass through uncopied. It follows "In Search of an Understandable Consensus Algorithm" (cited as Raft §) and
 * Ongaro's thesis, with the shape and the message names of etcd's library.
 *
 * ## In and out
 *
 *     tick, step, propose, readIndex,      ┌─────────┐   Ready: soft state, hard state, entries, snapshot,
 *     transferLeader, applyConfChange ───▶ │ RawNode │──▶ committed entries, read states, messages
 *                                          └─────────┘
 *
 * The host calls ready() when hasReady(), usually once per turn, does what the Ready says, and reports back. There are two ways.
 * In the simple one it makes entries, hard state and snapshot durable, sends the messages, applies the committed entries, and calls
 * advance(). With asyncStorageWrites the work itself is a message: MsgStorageAppend to the append thread, MsgStorageApply to the
 * apply thread, each with the responses to step or send once it is done, and ready() may be called again before that. The threads
 * take their messages in order and independently of each other.
 *
 * ## What waits for the disk
 *
 * A leader's appends leave before its own disk has the entries (thesis §10.2.1); it counts itself only through its own
 * MsgAppResp, which waits in `deferred` like everyone else's acknowledgements and votes. Deferred messages leave, in order, once
 * everything that was unpersisted when they were made is durable. Entries stay in `unstable` until a MsgStorageAppendResp of the
 * present term confirms them: one from an earlier term may speak of an entry that was replaced meanwhile (ABA).
 * With async storage writes only durable entries are handed out as committed, and a candidate asks for votes only once its term is
 * durable: otherwise it could campaign in that term twice, before and after a crash, with different logs.
 *
 * ## Where to read on
 *
 *     raw_node.ts        the surface; Ready and storage messages are put together here
 *     step.ts            every message: local or not, terms (Raft §5.1), then a cell of
 *     dispatch.ts        the table role × message; each empty cell is meant
 *     roles/             transitions.ts is the only place where roles and terms change; handlers per role
 *     election.ts        campaigns, votes, PreVote, CheckQuorum, promises of leases
 *     replication.ts     appends, snapshots, heartbeats; tracker/ is what a leader knows of each member
 *     proposals.ts       what enters a leader's log; commit.ts what leaves it
 *     membership.ts      configuration changes; confchange/ and conf_state.ts are their arithmetic
 *     reads.ts           ReadIndex and leases; read_rounds.ts is their bookkeeping
 *     storage_answers.ts what the storage threads report; log/ is the log as the core sees it
 *     quorum/            majorities, single and joint
 *     tick.ts            time
 *
 * State has one owner: Core, with what belongs to a candidacy or a leadership in an object that exists only as long as the role. An idle
 * follower therefore keeps no table of peers, no votes and no windows.
 *
 * ## Invariants (asserted in production)
 *
 * - Terms and commit indexes never move back; one vote per term; one leader per term.
 * - A committed entry is never replaced, and never compacted before it is applied; applied <= applying <= commit <= last index.
 * - A leader commits only entries of its own term (Raft §5.4.2), a follower no more than a message proves (Raft §5.3): an
 *   append proves what it reaches, a heartbeat proves nothing beyond a log that ends in an entry of the leader's term.
 * - Nobody campaigns who is not a voter, has a snapshot to store, or has committed membership changes to apply.
 * - match < next for every member; nothing is sent into a full window but an empty append after a heartbeat's answer.
 * - Every readIndex() is answered exactly once, with index -1 when it cannot be served.
 *
 * ## Faults of others that it does not have
 *
 * - A lease begins when a round of heartbeats is sent and ends leaseMarginTicks before the first voter that answered may vote. The
 *   promise not to vote is to any leader heard: it outlives a change of term and a restart, and binds explicit campaigns as well.
 * - Handing leadership over voids the lease: during the transfer, and for the rest of the term once the target was told to
 *   campaign, because a forced vote does not respect promises and may still come after the transfer was given up.
 * - Acknowledgements carry the session of the membership they belong to. One to a replica that was removed and added again
 *   under the same id says nothing about the new one; answers to read rounds likewise.
 * - Read rounds are numbered by the leader, one number per round. The caller's context only labels its answer.
 *
 * ## What is missing
 *
 * - No witness replicas, no leader-side quorum hints, no append pull by followers.
 * - Without a LeaseClock ticks are the only clock, and a lease is only as good as the ticker: after a stall of the event loop the host
 *   must call voidLease() before it passes reads on. With one, src/multiraft/lease_clock.ts looks after that. Lease-based reads make a restarted replica wait an election timeout before it votes.
 * - A transfer that was given up leaves a lease-based leader without a lease until the next term; reads then take rounds.
 * - A follower whose snapshot got lost stays in `snapshot` until the host calls reportSnapshot() or it acknowledges something.
 * - findConflictByTerm walks entry by entry; a storage that knew term boundaries could skip.
 * - An unreadable or impossible membership change that was committed all the same is skipped, alike on all replicas.
 */
export { batchingSendPolicy, eagerSendPolicy } from './config.js';
export type { RaftConfig, RaftLogger, ReadOnlyOption, SendPolicy } from './config.js';
export { ConfChangeTransition, ConfChangeType } from './conf_change.js';
export type { ConfChange, ConfChangeSingle } from './conf_change.js';
export { decodeConfChange, encodeConfChange, leaveJoint } from './conf_change_codec.js';
export { emptyConfState, isJoint, isMember, isVoter, memberIds, normalConfState, voterIds } from './conf_state.js';
export { RawNode } from './raw_node.js';
export { readFailedIndex } from './ready.js';
export type * from './ready.js';
export type { EntriesUnavailable, RaftStorage } from './storage.js';
