import type { AdminClient } from '../../src/client/index.js';
import type { RegisterLoad } from './register_load.js';
import { shardId, shardsOf } from './support.js';

/**
 * What each phase of a long test cost: its time, the replicas that it made and moved leaders to, and what the load did
 * meanwhile. For people to read; nothing is asserted of it.
 */
export class OperationsPhases {
  private readonly admin: AdminClient;
  private readonly keyspace: string;
  private readonly load: RegisterLoad;
  private readonly say: (line: string) => void;
  private startedMs = performance.now();
  private replicas: ReadonlySet<number> = new Set();
  private leaders: ReadonlyMap<number, number> = new Map();
  private writesBefore = 0;

  constructor(admin: AdminClient, keyspace: string, load: RegisterLoad, say: (line: string) => void) {
    this.admin = admin;
    this.keyspace = keyspace;
    this.load = load;
    this.say = say;
  }

  /** Looks at the cluster for the first time. */
  async begin(): Promise<void> {
    await this.look();
  }

  /** A phase is over; the next one begins. */
  async end(what: string): Promise<void> {
    const seconds = (performance.now() - this.startedMs) / 1_000;
    const { writes } = this.load.report();
    const done = writes - this.writesBefore;
    const gapMs = Math.round(this.load.takeGapMs());
    const [replicas, leaders] = [this.replicas, this.leaders];
    await this.look();
    // Replica ids are never used twice, so each id that is new is a replica that was made.
    const made = [...this.replicas].filter((id) => !replicas.has(id)).length;
    const gone = [...replicas].filter((id) => !this.replicas.has(id)).length;
    const led = [...this.leaders].filter(([shard, store]) => leaders.has(shard) && leaders.get(shard) !== store).length;
    this.say(
      `${what}: ${seconds.toFixed(1)} s; ${made} replicas made, ${gone} removed, ${led} shards led elsewhere; ` +
        `${(done / seconds).toFixed(0)} writes/s, longest gap ${gapMs} ms`,
    );
  }

  private async look(): Promise<void> {
    const shards = await shardsOf(this.admin, this.keyspace);
    this.replicas = new Set(shards.flatMap((s) => (s.route?.shard?.replicas ?? []).map((r) => r.replicaId)));
    this.leaders = new Map(shards.map((shard) => [shardId(shard), shard.route?.leaderStoreId ?? 0]));
    this.writesBefore = this.load.report().writes;
    this.startedMs = performance.now();
  }
}
