import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { GetClusterStatusResponse } from '../../src/gen/skerry/v1/admin.js';
import type { LeaderWork } from '../leader_work.js';
import type { PlacementMember } from '../placement_member.js';
import { differenceLine } from '../scrub/verdict.js';
import type { ShardRecord } from '../state/records.js';
import { keyspaceToWire, storeToWire } from './convert.js';

/** Findings of one kind are counted, and the first few named. */
const namedFindingsMax = 5;

interface ShardCounts {
  withoutLeader: number;
  underReplicated: number;
}

/** The summary for people. Without the leader's work it says what is replicated, and that no more is known. */
export function clusterStatus(
  member: PlacementMember,
  work: LeaderWork | null,
): Omit<GetClusterStatusResponse, 'error'> {
  const { state } = member;
  const view = work?.view ?? null;
  const counts: ShardCounts = { withoutLeader: 0, underReplicated: 0 };
  const blocked: string[] = [];
  for (const shard of state.shards()) {
    const hasLeader = work === null ? member.leaders.get(shard.shardId)?.leaderReplicaId !== 0 : leads(work, shard);
    if (!hasLeader) counts.withoutLeader++;
    if (work === null) continue;
    if (isUnderReplicated(work, shard)) counts.underReplicated++;
    const reason = work.planner.blockedReason(shard.shardId);
    if (reason !== undefined) blocked.push(`shard ${shard.shardId}: ${reason}`);
  }
  return {
    clusterId: state.clusterId,
    members: member.members().map(({ id, address }) => ({ memberId: id, address })),
    leaderId: member.leaderId(),
    stores: [...state.stores()].map((store) => storeToWire(store, state, view)),
    keyspaces: [...state.keyspaces()].filter((k) => k.phase !== 'planning').map(keyspaceToWire),
    shards: state.shardCount,
    shardsWithoutLeader: counts.withoutLeader,
    shardsUnderReplicated: counts.underReplicated,
    operatorsRunning: work?.planner.table.size ?? 0,
    findings: findings(member, work, counts, blocked),
  };
}

function leads(work: LeaderWork, shard: ShardRecord): boolean {
  return work.view.liveLeaderOf(shard.shardId) !== undefined;
}

function isUnderReplicated(work: LeaderWork, shard: ShardRecord): boolean {
  const { view } = work;
  const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER || r.role === ReplicaRole.INCOMING_VOTER);
  const wanted = view.state.keyspace(shard.keyspaceId)?.replicaCount ?? 0;
  if (voters.length < wanted) return true;
  const sick = voters.filter(
    (r) =>
      !view.isConnected(r.storeId) ||
      view.isQuarantined(r.replicaId) ||
      view.progressOf(shard.shardId, r.replicaId)?.down === true,
  );
  return voters.length - sick.length < wanted;
}

function findings(
  member: PlacementMember,
  work: LeaderWork | null,
  counts: ShardCounts,
  blocked: readonly string[],
): string[] {
  const { state } = member;
  const lines: string[] = [];
  if (work === null) lines.push('no placement leader is known; what stores report is not known either');
  if (state.clusterId === 0) lines.push('the cluster is not bootstrapped');
  for (const store of state.stores()) {
    if (store.state === 'tombstone') continue;
    if (work !== null && work.view.isSettled() && !work.view.isConnected(store.storeId)) {
      const age = work.view.heartbeatAgeMs(store.storeId);
      const since = age < 0 ? 'not been heard' : `not been heard for ${Math.round(age / 1000)} s`;
      lines.push(
        `store ${store.storeId} at ${store.address} has ${since}${work.view.isDown(store.storeId) ? ': down' : ''}`,
      );
    }
    const replicas = state.shardIdsOn(store.storeId).size;
    // An empty one is no finding: it waits to be stopped.
    if (store.state === 'draining' && replicas > 0) {
      lines.push(`store ${store.storeId} is being drained: ${replicas} replicas left`);
    }
    if (work?.view.report(store.storeId)?.diskFull === true) lines.push(`store ${store.storeId} has a full disk`);
    const report = work?.view.report(store.storeId);
    if (report?.diskStalled === true) lines.push(`store ${store.storeId} has a disk that does not sync`);
    if ((report?.quarantinedCount ?? 0) > 0) {
      lines.push(`store ${store.storeId} has ${report?.quarantinedCount ?? 0} replicas that lost data`);
    }
  }
  for (const keyspace of state.keyspaces()) {
    if (keyspace.phase === 'creating') lines.push(`keyspace ${keyspace.name} is still being created`);
  }
  if (counts.withoutLeader > 0) lines.push(`${counts.withoutLeader} shards have no leader that can be reached`);
  if (counts.underReplicated > 0) lines.push(`${counts.underReplicated} shards have fewer sound voters than wanted`);
  const differences = [...(work?.scrubber.inconsistent.values() ?? [])].map(differenceLine);
  lines.push(...differences.slice(0, namedFindingsMax));
  if (differences.length > namedFindingsMax) {
    lines.push(`${differences.length - namedFindingsMax} more shards have replicas that differ`);
  }
  lines.push(...blocked.slice(0, namedFindingsMax));
  if (blocked.length > namedFindingsMax) lines.push(`${blocked.length - namedFindingsMax} more shards wait for repair`);
  return lines;
}
