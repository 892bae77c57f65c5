import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import type { PlacementMember } from './placement_member.js';

/** The member's figures, read when they are asked for. */
export function placementRegistry(member: PlacementMember): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name: `skerry_placement_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  };
  gauge('is_leader', '1 while this member leads', () => (member.leading === null ? 0 : 1));
  gauge('term', 'Raft term of the placement group', () => member.term);
  gauge('applied_index', 'index of the last applied entry', () => member.appliedIndex);
  gauge('stores', 'registered stores, tombstones included', () => [...member.state.stores()].length);
  gauge('keyspaces', 'keyspaces', () => [...member.state.keyspaces()].length);
  gauge('shards', 'shards', () => member.state.shardCount);
  gauge('watchers', 'open WatchRoutes streams', () => member.feed.size);
  gauge('waiting_requests', 'requests that wait for something to happen', () => member.waiters.size);
  gauge('proposals_in_flight', 'proposals that wait for their commit', () => member.proposer.pending);
  gauge('store_sessions', 'open store sessions (leader)', () => member.leading?.sessions.size ?? 0);
  gauge('operators_running', 'operators in flight (leader)', () => member.leading?.planner.table.size ?? 0);
  gauge('shards_blocked', 'shards whose repair waits (leader)', () => member.leading?.planner.blockedCount ?? 0);
  gauge('quarantined_replicas', 'replicas that lost data to damage and wait to be replaced (leader)', () =>
    quarantinedReplicas(member),
  );
  gauge(
    'scrub_running',
    'shards whose replicas are being compared (leader)',
    () => member.leading?.scrubber.checksRunning ?? 0,
  );
  gauge(
    'inconsistent_shards',
    'shards whose replicas differed when they were last compared (leader)',
    () => member.leading?.scrubber.inconsistent.size ?? 0,
  );
  commandsDropped(registry, member);
  perOutcome(registry, member);
  perStore(registry, member);
  return registry;
}

function quarantinedReplicas(member: PlacementMember): number {
  let count = 0;
  for (const { storeId } of member.state.stores()) {
    count += member.leading?.view.report(storeId)?.quarantinedCount ?? 0;
  }
  return count;
}

/** Begins at zero with each term of leadership, as a counter of a restarted process does. */
function commandsDropped(registry: Registry, member: PlacementMember): void {
  new Counter({
    name: 'skerry_placement_commands_dropped_total',
    help: 'commands to stores without room or session, since this member leads',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(member.leading?.sessions.dropped ?? 0);
    },
  });
}

function perOutcome(registry: Registry, member: PlacementMember): void {
  new Counter({
    name: 'skerry_placement_shards_compared_total',
    help: 'comparisons of a shard’s replicas since this member leads, by outcome',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [outcome, count] of Object.entries(member.leading?.scrubber.counts ?? {}))
        this.inc({ outcome }, count);
    },
  });
}

function perStore(registry: Registry, member: PlacementMember): void {
  new Gauge({
    name: 'skerry_placement_store_replicas',
    help: 'replicas by store and role',
    labelNames: ['store', 'role'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { storeId } of member.state.stores()) {
        let learners = 0;
        for (const shardId of member.state.shardIdsOn(storeId)) {
          const replica = member.state.shard(shardId)?.replicas.find((r) => r.storeId === storeId);
          if (replica?.role === ReplicaRole.LEARNER) learners++;
        }
        const store = String(storeId);
        this.set({ store, role: 'learner' }, learners);
        this.set({ store, role: 'voter' }, member.state.shardIdsOn(storeId).size - learners);
        this.set({ store, role: 'leader' }, member.leaders.countOn(storeId));
      }
    },
  });
}

export interface MetricsServer {
  /** host:port. */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves GET /metrics. Rejects when it cannot listen. */
export async function startMetricsServer(address: string, registry: Registry): Promise<MetricsServer> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at);
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end('see /metrics\n');
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
    );
  });
  await listen(server, host, Number(address.slice(at + 1)));
  const { port } = server.address() as AddressInfo;
  return {
    address: `${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`cannot serve metrics at ${host}:${port}: ${error.message}`)));
    server.listen(port, host, () => resolve());
  });
}
