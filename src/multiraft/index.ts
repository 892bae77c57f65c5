/**
 * Many Raft groups on one event loop.
 *
 * A host runs one replica (a Peer) of each of its groups. The core of a group (src/raft) is pure: it is stepped
 * with messages and says what has to be done. The host does it, for all groups together, so that every
 * cost that can be shared is paid once per turn of the event loop and not once per group (DESIGN section 4).
 *
 *      transport          callers               ticker           log and engine
 *          │ messages,       │ propose,            │ one timer,       │ synced,
 *          │ beats           │ readIndex           │ awake groups     │ applied
 *          ▼                 ▼                     ▼                  ▼
 *      ┌─────────────────────────────────────────────────────────────────────┐
 *      │ mailbox per group  ──▶  dirty set  ──▶  one turn is scheduled        │   turn.ts, peer.ts
 *      └─────────────────────────────────────────────────────────────────────┘
 *          │  1. responses of synced log writes are stepped and sent              log_writer.ts
 *          │  2. per dirty group: step messages; its proposals become one entry;  peer.ts, proposals.ts,
 *          │     its reads one round; take the Ready                              read_waiters.ts
 *          ├─ 3. appends of all groups ─▶ one log write ─▶ one sync ─▶ step 1     log_writer.ts
 *          ├─ 4. messages and beats ─▶ one frame per host                         outbox.ts, beats.ts
 *          └─ 5. committed entries of all groups ─▶ one engine batch              apply_loop.ts, apply_pass.ts
 *                ─▶ outcomes to proposers, reads released, effects
 *
 * Most heartbeats, and the answers to them, ask a group for nothing else: those pass by the turn, from the ticker and from incoming beats
 * straight into the host's next beat (deliverBeat in peer.ts), since with thousands of awake groups they are nearly all that happens.
 *
 * Nothing waits to fill a batch: a batch is what gathered while the disk or the loop was busy.
 *
 * What depends on what:
 *
 * - A message that promises something (acknowledgement, vote) leaves after the sync of the records that hold the
 *   promise; everything else leaves at once (Raft thesis §10.2.1). See log_writer.ts.
 * - Entries are applied when the core hands them out, which it does only once they are synced here. Their outcome is told,
 *   and reads at their index are released, after the engine has been *given* the batch: the engine's order makes
 *   every later read see it. Acknowledgement rests on the log's sync at a majority alone.
 * - The log forgets entries only after an engine barrier that covers them. See compactor.ts.
 * - A snapshot is staged and synced, then installed durably by the state machine, then the log begins anew
 *   behind it, then it is acknowledged; later appends of the group wait meanwhile. See snapshot_installer.ts and,
 *   for a crash in between, prepare_log.ts.
 * - A proposal's fate is told once: applied with its result; dropped when it certainly did not and will not take
 *   effect; undetermined when leadership was lost and nothing more is known, when a snapshot hides it, or when the group ends.
 * - Groups that nobody uses hibernate: no replica of them ticks or sends anything. What they trust meanwhile, and what wakes
 *   them, is in hibernation.ts; nothing about safety rests on it.
 * - A linearizable read takes its index first and looks at the lease last, on the clock. Without a lease it takes a round. What
 *   leases and the promises behind them rest on is in lease_clock.ts.
 * - A failed disk or engine, or a broken invariant, latches `failed`: nothing is stepped, sent or told after it.
 *
 * Reads: peer_reads.ts, read_waiters.ts, lease_clock.ts. Snapshots: snapshot_sender.ts, snapshot_receiver.ts, staging.ts (the file), snapshot_pins.ts (what the log keeps for
 * their receivers). Liveness: ticker.ts, beats.ts, host_liveness.ts, hibernation.ts, awake_set.ts, early_campaigns.ts, disk_stall.ts, suspect_hosts.ts. Requests between hosts: forwarding.ts.
 * What comes in: inbound.ts. The wiring: multiraft.ts. Names and reasons of all limits: limits.ts.
 *
 * Missing, and known: a failed transfer leaves its leader without a lease for the rest of its term; a host whose disk is behind drops
 * appends, it does not tell their leaders to slow down.
 */
export * from './host.js';
export { createMultiRaft, type MultiRaftConfig } from './multiraft.js';
export type { CompactionOptions, HostLimits, MultiRaftOptions, MultiRaftOptionsInput } from './options.js';
export { ForwardError, type ForwardFailure } from './forwarding.js';
export { ReplicaDataLostError } from './prepare_log.js';
export { openStagedSnapshot, StagedFileError, type StagedHeader } from './staging.js';
