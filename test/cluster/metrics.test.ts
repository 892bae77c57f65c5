import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import t from 'tap';
import { packageRoot } from '../../src/cli/playground/package_root.js';
import { SkerryClient } from '../../src/client/index.js';
import { clusterFor, eventually } from './support.js';

// A guard against hanging, not a measurement: this starts a whole cluster on a machine that may be busy.
t.setTimeout(300_000);

/** What an operator needs to see of a store, by the names that stay. */
const storeMetrics = [
  ...[
    'proposals_total',
    'entries_proposed_total',
    'entries_committed_total',
    'entries_applied_total',
    'apply_batches_total',
    'turns_total',
  ],
  ...['writes_total', 'reads_total', 'follower_reads_total', 'stale_reads_total', 'scans_total', 'forwards_total'],
  ...['read_points_total', 'read_points_by_lease_total', 'read_points_by_round_total', 'read_rounds_total'],
  ...['raftlog_syncs_total', 'raftlog_batches_total', 'raftlog_entries_total', 'raftlog_written_bytes_total'],
  ...['raftlog_sync_seconds', 'raftlog_batch_bytes', 'raftlog_disk_bytes', 'raftlog_live_bytes'],
  ...['transport_frames_sent_total', 'transport_frames_received_total', 'transport_messages_sent_total'],
  ...['transport_sent_bytes_total', 'transport_received_bytes_total', 'transport_messages_dropped_total'],
  ...['beats_sent_total', 'shards_awake', 'shards_hibernating', 'hibernations_total', 'wakes_total'],
  ...['groups', 'leaders', 'elections_started_total', 'snapshots_sent_total', 'snapshots_received_total'],
  ...['event_loop_lag_seconds', 'operations_in_flight', 'operations_in_flight_bytes', 'engine_write_backlog_bytes'],
  ...['busy_rejections_total', 'admission_refusals_total', 'deadlines_expired_total', 'raft_messages_dropped_total'],
  ...['disk_stalled', 'disk_full', 'placement_session_up', 'quarantined_replicas'],
];

const placementMetrics = [
  ...['is_leader', 'term', 'applied_index', 'stores', 'shards', 'store_sessions', 'store_replicas'],
  ...['operators_running', 'shards_blocked', 'commands_dropped_total', 'shards_compared_total'],
];

/** Families of a page: name to type. */
function families(page: string): Map<string, string> {
  return new Map([...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1] ?? '', match[2] ?? '']));
}

function fetchPage(address: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    get(`http://${address ?? ''}/metrics`, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

function sampleOf(page: string, name: string): number {
  const line = page.split('\n').find((l) => l.startsWith(`${name} `) || l.startsWith(`${name}{`));
  return Number(line?.slice(line.lastIndexOf(' ') + 1) ?? NaN);
}

/** Names of metrics in a PromQL expression. */
function namesIn(expression: string): string[] {
  return (expression.match(/\b(?:skerry|process|nodejs)_[a-z0-9_]+/g) ?? []).map((name) =>
    name.replace(/_bucket$/, ''),
  );
}

t.test('stores and placement members tell Prometheus what operators need, by its conventions', async (t) => {
  const cluster = await clusterFor(t, { stores: 3 });
  await cluster.createKeyspace('default', { shards: 6 });
  const client = await SkerryClient.connect({ placement: cluster.placement, timeoutMs: 60_000 });
  for (let i = 0; i < 32; i++) await client.set(`key-${i}`, 'value');
  for (let i = 0; i < 32; i++) await client.get(`key-${i}`);
  client.close();
  // The pages are of different moments: while a shard changes its leader, two stores may claim it, or none.
  const stores = await eventually('every shard is led once', async () => {
    const pages = await Promise.all(cluster.stores.map((store) => fetchPage(store.ready.metrics)));
    return pages.reduce((total, page) => total + sampleOf(page, 'skerry_leaders'), 0) === 6 ? pages : null;
  });
  const store = stores[0] ?? '';
  const placement = await fetchPage(cluster.placements[0]?.ready.metrics);
  const all = new Map([...families(store), ...families(placement)]);

  for (const name of storeMetrics) t.ok(families(store).has(`skerry_${name}`), `a store has skerry_${name}`);
  for (const name of placementMetrics) {
    t.ok(families(placement).has(`skerry_placement_${name}`), `a placement member has skerry_placement_${name}`);
  }
  const ours = [...all].filter(([name]) => name.startsWith('skerry_'));
  for (const [name, type] of ours) {
    t.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`);
    t.notMatch(name, /_(ms|us|millis|milliseconds|kb|mb|kib|mib|percent)(_|$)/, `${name} is in base units`);
  }
  const sum = (name: string): number => stores.reduce((total, page) => total + sampleOf(page, name), 0);
  t.ok(sum('skerry_writes_total') >= 32, 'the writes were counted');
  t.ok(sum('skerry_reads_total') >= 32, 'and the reads');
  t.ok(sum('skerry_raftlog_syncs_total') > 0 && sum('skerry_entries_applied_total') > 0);
  t.equal(sum('skerry_leaders'), 6);
  t.ok(sum('skerry_entries_committed_total') >= sum('skerry_entries_applied_total'), 'what was applied had come');
  for (const page of stores) {
    const syncs = sampleOf(page, 'skerry_raftlog_syncs_total');
    t.equal(sampleOf(page, 'skerry_raftlog_sync_seconds_count'), syncs, 'every sync is in the histogram');
    t.equal(sampleOf(page, 'skerry_raftlog_sync_seconds_bucket{le="+Inf"}'), syncs);
    t.ok(sampleOf(page, 'skerry_raftlog_sync_seconds_sum') > 0);
    t.equal(sampleOf(page, 'skerry_raftlog_batch_bytes_sum'), sampleOf(page, 'skerry_raftlog_written_bytes_total'));
  }
  for (const page of stores) t.notMatch(page, /shard(_id)?="/, 'nothing is told per shard');

  const dashboard = JSON.parse(readFileSync(`${packageRoot}/deploy/grafana/skerry.json`, 'utf8')) as {
    readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
  };
  const shown = dashboard.panels.flatMap((panel) => (panel.targets ?? []).flatMap((target) => namesIn(target.expr)));
  t.ok(shown.length > 30, 'the dashboard shows metrics');
  for (const name of new Set(shown)) t.ok(all.has(name), `the dashboard's ${name} exists`);
  const alerts = readFileSync(`${packageRoot}/deploy/prometheus/alerts.yml`, 'utf8');
  const watched = namesIn(alerts);
  t.ok(watched.length > 5, 'alerts watch metrics');
  for (const name of new Set(watched)) t.ok(all.has(name), `the alerts' ${name} exists`);
});
