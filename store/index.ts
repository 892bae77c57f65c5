/**
 * The store server: replicas of many shards in one process, served to clients, moved about by placement.
 *
 *        clients                 other stores               placement leader
 *           │ frames, calls          │ envelopes                 │ commands ▲ reports
 *           ▼                        ▼                           ▼          │
 *     kv_grpc ─ batch_stream    src/transport            placement_session ─┤
 *           │   kv_unary             │                     │        shard_reports
 *           ▼                        │             command_executor
 *      kv_service ── propose ──▶ src/multiraft ◀── add, remove, change ──┤
 *        │   ▲                       │   ▲                               │
 *   read │   └── outcome             │   └── callbacks ──────────── replicas
 *        ▼                     apply ▼                                   │
 *     src/engine ◀── one batch ── shard_state_machine ◀──────────────────┘
 *
 * Frames of clients come over TCP (client_streams) or gRPC (kv_grpc), calls over gRPC.
 *
 * A write: its bytes are checked (kv_checks) and proposed as they are; the group commits them; the state machine looks
 * at range and session once more, because a split or an earlier attempt may have come first, and adds rows, session and
 * applied position to one engine batch; the outcome goes back to the stream it came from. A read takes a read point
 * from its group, together with the other reads of its frame (read_gatherer), and then one getMany with the reads of all shards that
 * are due in the same turn. Nothing is answered twice or never: every operation is a KvCall with a deadline.
 *
 * A replica is made by placement (all initial ones at log position 5), by a split (the right-hand side, in the same
 * engine batch as the cut), or by a leader's first message (empty; a snapshot follows). It ends with a tombstone that keeps its
 * id: as a removed member, by command, or by asking placement when nobody leads it (stale_replicas). replicas.ts keeps them all.
 *
 * A shard that lost its majority for good goes on from one replica when a person had placement choose it (replica_recovery.ts, with the argument).
 *
 * Two neighbours on the same stores become one shard in the log of the one that stays (merge.ts, with the whole argument); merges.ts is where their
 * replicas meet on a store, merge_driver.ts carries a merge through.
 *
 * What holds, and where:
 *   - A shard's rows, sessions, descriptor and applied position change in one engine batch (shard_state_machine).
 *   - Live ranges on one store never overlap (range_index; snapshots that would are refused until they fit).
 *   - A write of a session takes effect at most once, whatever is retried, split, restored or restarted (session_table).
 *   - A replica's record is synced before its peer answers anyone; a tombstone before its log is forgotten (replicas).
 *   - An interrupted snapshot installation is done again from the same file at the next start (snapshot_install).
 *   - What is in flight is bounded per stream, shard and store, writes by the time that they take as well; past a bound: ServerIsBusy with its name (admission).
 *   - A replica that lost a part of its log is quarantined: it takes part in nothing, and is reported until it is replaced (replicas).
 *   - A full disk refuses writes, snapshots and, in the end, entries of leaders elsewhere, and nothing else (disk_watch).
 *   - A failed disk or engine, or a broken invariant, ends the process; the start is the recovery (store_server).
 *
 * store.ts wires all of this together without a process, so that the simulator can run it; store_server.ts adds directories, sockets
 * and RocksDB; main.ts adds flags and signals.
 *
 * Missing: a bound on the staleness of stale reads; removing old tombstones; replies
 * of very large batch reads are built in memory before their size is known.
 */
export { Store } from './store.js';
export type { StoreParts } from './store.js';
export { StoreServer } from './store_server.js';
export type { StoreServerOptions } from './store_server.js';
export { storeConfigSchema } from './store_config.js';
export type { StoreConfig } from './store_config.js';
