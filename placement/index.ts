/**
 * The placement service: knows which stores there are, which keyspaces and shards, and where each shard's replicas are;
 * decides where they should be; and tells clients where to go. One, three or five members, one Raft group.
 *
 *             commands                         applied in log order, on every member
 *   services ──────────▶ Raft group (src/multiraft) ──────────▶ ClusterState ──▶ engine rows
 *      ▲                                                            │ changes
 *      │ typed requests                                             ▼
 *   clients, stores ◀──────────── RouteFeed ◀──────────────── PlacementMember
 *                                                                   │ only while it leads
 *   stores ──StoreSession: reports──▶ LeaderWork ──▶ ClusterView ──▶ Planner ──▶ operators
 *          ◀──────────────────────────── commands ◀───────────────────────────────┘
 *
 * Two kinds of knowledge, kept apart:
 *
 * - What the members agree on (state/): cluster id, stores, keyspaces, shard descriptors with their epochs, shard
 *   targets, the id counters, and the metadata table, which is for others (services/metadata_service.ts). It goes through the log, is the same everywhere, and survives everything. Commands are
 *   deterministic: the ids that they make come from the state's own counters.
 * - What the leader observes (cluster_view.ts): heartbeats, who leads which shard, how far replicas are.
 *   It is not replicated. A new leader starts with the leaders that it mirrored from its predecessor (leader_mirror.ts)
 *   and hears the rest in the first frames of the stores' sessions; until every store had the time to report, it
 *   repairs nothing (ClusterView.isSettled).
 *
 * Stores are the truth about shards, placement is told. A descriptor is taken when its epoch is newer, by version
 * first and then confVer; a leader when its term is not older. So reports may come late, twice or out of order.
 *
 * Operators are the leader's, and the log keeps what the next one needs of them (operators/operator_journal.ts): those that someone asked
 * for are recorded before their first command, those that copy data as they get on, and the end of each is kept as history, from which
 * a new leader learns which shards rest. It goes on with what it finds once the stores have reported.
 *
 * Decisions are pure: checkers/ look at one shard and repair it, schedulers/ look at all of them and even them out, both
 * return plans of steps (operators/step.ts). A step describes how the shard should look, not a message: it is done when
 * the shard looks like that, whoever did it. The controller sends the current step's command to the shard's leader,
 * again when it got lost, and gives up when the shard turns out to be another one than the plan was made for. A move is
 *
 *   add learner ─▶ (caught up) ─▶ transfer leader, if the one to go leads ─▶ enter joint: promote and remove ─▶ leave joint
 *
 * Why balance does not swing: a move goes from a larger share to a smaller one and only if the first stays at least
 * as large as the second; what is in flight counts as arrived; shares closer than one part in a hundred are even;
 * weights move in steps of a sixteenth; a shard that was just moved rests. test/placement/planner_sim.test.ts turns
 * 1,000 rounds to see it.
 *
 * Life of a keyspace: planning (its shards enter the log, a chunk per command) ─▶ creating (stores are told, until every shard
 * has reported a leader) ─▶ ready. A leader that finds one in planning that it did not begin itself removes it: no store
 * has heard of its shards.
 *
 * Who answers what: any member answers look-ups from its own state (after a read index, when it does not find the thing:
 * it may lag behind the member that made it). Writes, and what only the leader observes, go to the leader: another member
 * passes the request on, once, marked by metadata so that it is never passed on again. Without a leader the answer
 * is PlacementUnavailable, within the caller's deadline. A store's session ends with the leader's address when this
 * member does not lead.
 *
 * Members come and go (membership.ts): who shall belong to the group is a record in the state, who does is the group's
 * configuration, and the leader brings the second in line with the first, one server at a time (member_changes.ts). A new
 * member learns from the others who it is (join_cluster.ts) and gets a snapshot; one that was removed asks the others
 * and ends (removal_watch.ts). One that was away while those that it knew were replaced is told of the present ones
 * (member_notices.ts). The list goes to stores and clients with what they are sent anyway, numbered, so that a late one
 * changes nothing. Stores report the number of theirs; a member is not removed while one of them knows no voter that stays
 * (member_removals.ts, untold_stores.ts).
 *
 * Adding or removing a replica by hand would be undone by the replica checker, so it also records what the shard
 * should have from now on (ShardTarget); the health summary still measures against the keyspace's replica count.
 *
 * Rules (rules/) say what a keyspace wants of its replicas: how many voters, on stores with which labels, kept apart by which
 * label, where the leader belongs, and learners. Checkers and schedulers weigh every change by them. What holds a decision
 * back is data (hindrance.ts); why.ts asks the checkers and the schedulers of balance about one shard or store.
 *
 * Small shards are merged by default (checkers/merge_checker.ts), because shards left behind by deleted rows cost memory and
 * reports for ever and nobody looks for them. What makes that safe to leave on: it takes nothing away that somebody asked for (a keyspace
 * keeps the number of shards that it was created with, so a keyspace that was split in advance for load to come stays split), it cannot
 * undo a split that is still wanted (two shards that are merged are at most half of what is split, by bytes, keys and load, and rest for
 * an hour before and after), and it yields to everything else: it is the last checker, few merges run at once, moves for
 * them count against the limits of balance, not of repairs, and a merge that waits is no finding.
 *
 * Shards that lost the majority of their voters for good (recovery/, services/recover_service.ts, store/replica_recovery.ts) are recovered only
 * when a person asks, names the dead stores, and types what is given up. The argument, in the order of what happens:
 *
 *   1  The dead stores must be silent and become tombstones in the log before anything else: a tombstone can neither register nor open a
 *      session, so nothing that they say counts any more. That they do not run somewhere else can not be known from here; it is what is typed.
 *   2  All other stores have answered, so the replica whose log ends last among all that are left is known: it has every
 *      entry that was committed and is still anywhere (Raft §5.4.1, with "any that is left" in place of "a majority").
 *   3  One replica per shard, chosen once: the choice goes through this log before its store hears of it, stays while that store is there, and
 *      ends with the descriptor that shows it done. Two stores can not both be told; a new leader goes on from the rows.
 *   4  Epoch and term jump by a million: above what the dead ones can have reached unheard, so that old reports, routes and replicas are old everywhere.
 *   5  What follows is ordinary: a shard with one voter lacks replicas, and the checkers make them; replicas of the old
 *      group that are left ask, are no members, and go.
 *
 * A plan has a hash for its id; applying makes the plan anew and compares. Shards without a leader do not change, so it is the same unless something
 * came or went, which a person should look at again.
 *
 * Missing, and known: a keyspace whose policy has learners merges nothing, since merges are of voters only; a shard that is split
 * by load is cut near the middle of its keys, not of its load; the rate of a drain is measured anew
 * by each leader; a merge that the stores have begun is taken back only by way of its target's log, so its source serves nothing while
 * the target has no majority; a store that does not know CancelMerge yet ends the merge by itself, and its operator as timed out;
 * a recovery that its store refuses for good stays listed, and nothing but a person can say what then. A member's new address is recorded
 * only when it leads. A store, or a client without a stream of routes, that starts after all members that it is configured with
 * were replaced does not find the others. Between two additions the group has an even number of voters, which tolerates no more losses.
 */
export { PlacementServer, type PlacementServerOptions } from './placement_server.js';
export { placementConfigSchema, type PlacementConfig } from './placement_config.js';
