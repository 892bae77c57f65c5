import { Command } from 'commander';
import type { GetClusterStatusResponse } from '../gen/skerry/v1/admin.js';
import { commonOptions, withAdmin } from './context.js';
import { exitCodes } from './exit_codes.js';
import { keyspaceView } from './keyspace.js';
import { message, printJson, table, write } from './output.js';
import { storeColumns, storeView } from './store.js';

export interface ClusterView {
  readonly clusterId: number;
  readonly placementLeader: number;
  readonly placementMembers: readonly { readonly memberId: number; readonly address: string }[];
  readonly stores: readonly ReturnType<typeof storeView>[];
  readonly keyspaces: readonly ReturnType<typeof keyspaceView>[];
  readonly shards: number;
  readonly shardsWithoutLeader: number;
  readonly shardsUnderReplicated: number;
  readonly operatorsRunning: number;
  /** Sound if empty. */
  readonly findings: readonly string[];
}

export function clusterView(status: GetClusterStatusResponse): ClusterView {
  return {
    clusterId: status.clusterId,
    placementLeader: status.leaderId,
    placementMembers: status.members.map(({ memberId, address }) => ({ memberId, address })),
    stores: status.stores.map(storeView),
    keyspaces: status.keyspaces.map(keyspaceView),
    shards: status.shards,
    shardsWithoutLeader: status.shardsWithoutLeader,
    shardsUnderReplicated: status.shardsUnderReplicated,
    operatorsRunning: status.operatorsRunning,
    findings: status.findings,
  };
}

/** The whole cluster in a few lines. */
export function clusterText(view: ClusterView): string {
  const members = view.placementMembers.map(
    (m) => `${m.memberId} (${m.address}${m.memberId === view.placementLeader ? ', leads' : ''})`,
  );
  const keyspaces = view.keyspaces.map((k) => `${k.name} (${k.partitioning}, ${k.replicas} replicas, ${k.state})`);
  const lines = [
    `cluster    ${view.clusterId}`,
    `placement  ${members.join(', ')}`,
    `keyspaces  ${keyspaces.length === 0 ? 'none' : keyspaces.join(', ')}`,
    `shards     ${view.shards}, ${view.shardsWithoutLeader} without a leader, ${view.shardsUnderReplicated} under-replicated`,
    `operators  ${view.operatorsRunning} running`,
    `health     ${view.findings.length === 0 ? 'sound' : view.findings.join('; ')}`,
  ];
  return `${lines.join('\n')}\n\n${table(view.stores, storeColumns)}`;
}

/** `skerry cluster`. */
export function clusterCommand(): Command {
  const status = new Command('status')
    .description('show members, stores, keyspaces and shards in sum')
    .action((_flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => {
        const view = clusterView(await admin.clusterStatus());
        if (commonOptions(command).output === 'json') await printJson(view);
        else await write(clusterText(view));
      }),
    );
  const health = new Command('health')
    .description(`say whether the cluster is sound; exit code ${exitCodes.failure} if it is not`)
    .action((_flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => {
        const { findings } = clusterView(await admin.clusterStatus());
        if (commonOptions(command).output === 'json') await printJson({ sound: findings.length === 0, findings });
        else await write(findings.length === 0 ? 'sound\n' : `${findings.join('\n')}\n`);
        if (findings.length === 0) return;
        message(`${findings.length} findings`);
        process.exitCode = exitCodes.failure;
      }),
    );
  return new Command('cluster').description('show the cluster as a whole').addCommand(status).addCommand(health);
}
