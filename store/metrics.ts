import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { AddressInUseError, BindError } from '../src/transport/grpc_server.js';
import type { BucketCounts } from '../src/base/bucket_counts.js';
import type { CacheStats } from '../src/engine/engine.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import type { Transport } from '../src/transport/transport.js';
import { ReadHistogram } from './read_histogram.js';
import type { Store } from './store.js';

/**
 * What a store tells Prometheus. Per store and per peer, never per shard. Numbers are read when they are asked for, so they cost nothing
 * in between.
 */
export interface MetricsParts {
  readonly store: Store;
  readonly raftLog: RaftLog;
  readonly transport: Transport;
}

/** Adds a metric whose value is read when it is asked for. */
type AddMetric = (name: string, help: string, read: () => number) => void;

interface Meter {
  readonly counter: AddMetric;
  readonly gauge: AddMetric;
  readonly histogram: (name: string, help: string, read: () => BucketCounts) => void;
}

export function storeMetrics({ store, raftLog, transport }: MetricsParts): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const meter = meterOf(registry);
  hostMetrics(meter, store);
  logMetrics(meter, raftLog);
  serviceMetrics(meter, store);
  refusalCounters(registry, store);
  eventLoopLag(registry);
  peerCounters(registry, transport);
  return registry;
}

function meterOf(registry: Registry): Meter {
  return {
    counter: (name, help, read) => {
      new Counter({
        name: `skerry_${name}`,
        help,
        registers: [registry],
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    },
    gauge: (name, help, read) => {
      new Gauge({
        name: `skerry_${name}`,
        help,
        registers: [registry],
        collect() {
          this.set(read());
        },
      });
    },
    histogram: (name, help, read) => {
      new ReadHistogram(registry, `skerry_${name}`, help, read);
    },
  };
}

function hostMetrics({ counter, gauge }: Meter, store: Store): void {
  const host = (): ReturnType<Store['multi']['stats']> => store.multi.stats();
  gauge('groups', 'Raft groups with a replica here.', () => host().groups);
  gauge('leaders', 'Raft groups led here.', () => host().leaders);
  gauge(
    'quarantined_replicas',
    'Replicas that lost data to damage and wait to be replaced.',
    () => store.replicas.quarantinedCount,
  );
  const checksums = (): Store['checksums']['stats'] => store.checksums.stats;
  gauge('checksums_running', 'Checksums of replicas that are being computed.', () => checksums().running);
  counter('checksums_total', 'Checksums of replicas computed.', () => checksums().finished);
  counter('checksums_failed_total', 'Checksums asked for and not computed.', () => checksums().failed);
  counter('checksum_read_bytes_total', 'Bytes read for checksums.', () => checksums().bytesRead);
  counter('turns_total', 'Turns of the host.', () => host().turns);
  counter('proposals_total', 'Commands proposed here.', () => host().proposals);
  counter('entries_proposed_total', 'Raft entries that the proposals became.', () => host().entriesProposed);
  counter(
    'entries_committed_total',
    'Raft entries that came to be applied here, committed.',
    () => host().entriesCommitted,
  );
  counter('entries_applied_total', 'Raft entries applied.', () => host().entriesApplied);
  counter('apply_batches_total', 'Engine batches of applied entries.', () => host().applyBatches);
  counter('read_rounds_total', 'ReadIndex rounds.', () => host().readRounds);
  counter('read_points_total', 'Read points asked for.', () => host().reads);
  counter('read_points_by_lease_total', 'Read points served under a lease.', () => host().readsByLease);
  counter('read_points_by_round_total', 'Read points that took a ReadIndex round.', () => host().readsByRound);
  counter('lease_stalls_total', 'Stalls of the event loop that cost the leases.', () => host().leaseStalls);
  gauge('shards_hibernating', 'Replicas of idle shards, which do not tick.', () => host().hibernating);
  gauge('shards_awake', 'Replicas that tick.', () => host().groups - host().hibernating);
  counter('hibernations_total', 'Times that a replica went to sleep.', () => host().hibernations);
  counter('wakes_total', 'Times that a hibernating replica woke.', () => host().wakes);
  counter('elections_started_total', 'Elections started here.', () => host().electionsStarted);
  counter('snapshots_sent_total', 'Snapshots sent.', () => host().snapshotsSent);
  counter('snapshots_received_total', 'Snapshots received.', () => host().snapshotsReceived);
  gauge(
    'disk_sync_age_seconds',
    'How long the oldest unsynced write of the Raft log has waited.',
    () => host().syncAgeMs / 1_000,
  );
  gauge('disk_stalled', '1 while the disk is too slow for this store to lead.', () => (host().diskStalled ? 1 : 0));
  counter('disk_stalls_total', 'Times that the disk stalled.', () => host().diskStalls);
  counter('disk_stall_handovers_total', 'Leaderships offered because of a stalled disk.', () => host().handovers);
  counter('beats_sent_total', 'Store heartbeats sent.', () => host().beatsSent);
  counter(
    'raft_messages_dropped_total',
    'Raft messages that found no store, no connection or a full mailbox.',
    () => host().messagesDropped,
  );
  counter('log_compactions_total', 'Raft log compactions.', () => host().compactions);
}

function logMetrics({ counter, gauge, histogram }: Meter, raftLog: RaftLog): void {
  const log = (): ReturnType<RaftLog['stats']> => raftLog.stats();
  counter('raftlog_syncs_total', 'Syncs of the Raft log.', () => log().syncs);
  counter('raftlog_batches_total', 'Batches written to the Raft log.', () => log().batches);
  counter('raftlog_entries_total', 'Entries written to the Raft log.', () => log().entries);
  counter('raftlog_written_bytes_total', 'Bytes written to the Raft log.', () => log().bytesWritten);
  gauge('raftlog_disk_bytes', 'Bytes of the Raft log on disk.', () => log().diskBytes);
  gauge('raftlog_disk_max_bytes', 'What the Raft log on disk never exceeds.', () => log().diskBytesMax);
  gauge('raftlog_live_bytes', 'Bytes of the entries that shards still need.', () => log().liveBytes);
  gauge('raftlog_cache_bytes', 'Bytes of recent entries in memory.', () => log().cacheBytes);
  gauge('raftlog_under_pressure', '1 while the Raft log is so full that shards must compact.', () =>
    log().underPressure ? 1 : 0,
  );
  histogram(
    'raftlog_sync_seconds',
    'How long writing and syncing a batch of the Raft log took.',
    () => log().syncSeconds,
  );
  histogram('raftlog_batch_bytes', 'Bytes of the batches written to the Raft log.', () => log().batchBytes);
}

const noCache: CacheStats = { hits: 0, misses: 0, entries: 0, bytes: 0 };

function serviceMetrics({ counter, gauge }: Meter, store: Store): void {
  const kv = store.kv.counters;
  counter('writes_total', 'Writes taken in.', () => kv.writes);
  counter('reads_total', 'Reads by key taken in.', () => kv.reads);
  counter('follower_reads_total', 'Reads taken in that any voter may serve.', () => kv.followerReads);
  counter('stale_reads_total', 'Reads served without a read point.', () => kv.staleReads);
  counter('scans_total', 'Scans taken in.', () => kv.scans);
  counter('forwards_total', 'Operations passed on to the leader.', () => kv.forwards);
  counter('busy_rejections_total', 'Operations refused with ServerIsBusy.', () => kv.busy);
  counter('deadlines_expired_total', 'Operations whose deadline passed.', () => kv.expired);
  gauge('operations_in_flight', 'Operations taken in and not answered.', () => store.kv.admission.store.ops);
  gauge('operations_in_flight_bytes', 'Bytes of the operations in flight.', () => store.kv.admission.store.bytes);
  const { writes } = store.kv.admission;
  gauge('writes_under_way', 'Writes proposed without an outcome yet.', () => writes.ops);
  gauge(
    'write_window',
    'Writes that may be under way; less than the most while all take too long.',
    () => writes.opsMax,
  );
  gauge(
    'engine_write_backlog_bytes',
    'Bytes on their way to the engine.',
    () => store.replicas.engine.writeBacklogBytes,
  );
  const cache = (): CacheStats => store.replicas.engine.cacheStats ?? noCache;
  counter('value_cache_hits_total', 'Values read from the memory of the event loop.', () => cache().hits);
  counter('value_cache_misses_total', 'Values read from the engine.', () => cache().misses);
  gauge('value_cache_bytes', 'Bytes of the cache of values in use.', () => cache().bytes);
  gauge('value_cache_entries', 'Values in the cache.', () => cache().entries);
  gauge('disk_full', '1 while writes are refused because the disk is nearly full.', () => (store.kv.diskFull ? 1 : 0));
  gauge('placement_session_up', '1 while a session with placement is open.', () => (store.session.connected ? 1 : 0));
}

function refusalCounters(registry: Registry, store: Store): void {
  new Counter({
    name: 'skerry_admission_refusals_total',
    help: 'Operations refused because too many, or too many bytes, are in flight, or writes take too long, by limit; among skerry_busy_rejections_total.',
    labelNames: ['limit'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [limit, count] of Object.entries(store.kv.admission.refusals)) this.inc({ limit }, count);
    },
  });
}

function eventLoopLag(registry: Registry): void {
  const delays = monitorEventLoopDelay({ resolution: 10 });
  delays.enable();
  new Gauge({
    name: 'skerry_event_loop_lag_seconds',
    help: 'Event loop delay since the last look.',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      for (const quantile of [50, 99, 100])
        this.set({ quantile: `${quantile / 100}` }, delays.percentile(quantile) / 1e9);
      delays.reset();
    },
  });
}

function peerCounters(registry: Registry, transport: Transport): void {
  const peers = (): ReturnType<Transport['stats']>['peers'] => transport.stats().peers;
  const counter = (name: string, help: string, read: (peer: ReturnType<typeof peers>[number]) => number): void => {
    new Counter({
      name: `skerry_transport_${name}`,
      help,
      labelNames: ['peer'],
      registers: [registry],
      collect() {
        this.reset();
        for (const peer of peers()) this.inc({ peer: String(peer.hostId) }, read(peer));
      },
    });
  };
  counter('frames_sent_total', 'Frames sent to a peer store.', (p) => p.framesSent);
  counter('frames_received_total', 'Frames received from a peer store.', (p) => p.framesReceived);
  counter('sent_bytes_total', 'Bytes sent to a peer store.', (p) => p.bytesSent);
  counter('received_bytes_total', 'Bytes received from a peer store.', (p) => p.bytesReceived);
  counter('messages_sent_total', 'Raft messages sent to a peer store.', (p) => p.messagesSent);
  counter('messages_dropped_total', 'Raft messages to a peer store that were dropped.', (p) => p.messagesDropped);
  new Gauge({
    name: 'skerry_transport_connected',
    help: '1 while a peer store is connected.',
    labelNames: ['peer'],
    registers: [registry],
    collect() {
      this.reset();
      for (const peer of peers()) this.set({ peer: String(peer.hostId) }, peer.connected ? 1 : 0);
    },
  });
}

export interface MetricsServer {
  /** host:port. */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves a registry at /metrics. */
export async function startMetricsServer(address: string, registry: Registry): Promise<MetricsServer> {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(error instanceof Error ? error.message : String(error)),
    );
  });
  await listen(server, host, Number(address.slice(colon + 1)), address);
  const { port } = server.address() as AddressInfo;
  return {
    address: `${address.slice(0, colon)}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, host: string, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE';
      reject(
        inUse
          ? new AddressInUseError(address)
          : new BindError(address, `cannot listen at ${address}: ${error.message}`),
      );
    });
    server.listen(port, host, resolve);
  });
}
