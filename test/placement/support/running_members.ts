import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, MethodDefinition } from '@grpc/grpc-js';
import { credentials } from '@grpc/grpc-js';
import { silentLogger } from '../../../src/base/logger.js';
import { freePorts } from '../../../src/cli/playground/free_ports.js';
import { AdminClient } from '../../../src/gen/skerry/v1/admin.js';
import { PlacementClient } from '../../../src/gen/skerry/v1/placement.js';
import { AddressInUseError } from '../../../src/transport/grpc_server.js';
import { placementConfigSchema } from '../../../placement/placement_config.js';
import { PlacementServer } from '../../../placement/placement_server.js';

type Settings = Record<string, unknown>;

/** A member in this process with clients for it. */
export interface RunningMember {
  readonly memberId: number;
  readonly server: PlacementServer;
  readonly placement: PlacementClient;
  readonly admin: AdminClient;
  readonly fatal: Error[];
  stop(): Promise<void>;
}

export async function startMember(
  dataDir: string,
  memberId = 1,
  members: unknown = { 1: '127.0.0.1:0' },
  settings: Settings = {},
): Promise<RunningMember> {
  const config = placementConfigSchema.parse({
    memberId,
    members,
    dataDir: join(dataDir, `member-${memberId}`),
    metricsAddress: '127.0.0.1:0',
    patrolIntervalMs: 20,
    scheduleIntervalMs: 50,
    raft: { tickMs: 20 },
    ...settings,
  });
  const fatal: Error[] = [];
  const removed = (): void => void fatal.push(new Error('removed'));
  const server = new PlacementServer({
    config,
    logger: silentLogger,
    fatal: (error) => void fatal.push(error),
    removed,
  });
  try {
    await server.start();
  } catch (error) {
    await server.close();
    throw error;
  }
  const placement = new PlacementClient(server.address, credentials.createInsecure());
  const admin = new AdminClient(server.address, credentials.createInsecure());
  const stop = async (): Promise<void> => {
    placement.close();
    admin.close();
    await server.close();
  };
  return { memberId, server, placement, admin, fatal, stop };
}

/**
 * Of a member among others. A log that does not sync for two election timeouts costs its member the leadership, and all members share
 * a disk with whatever else runs here, so theirs are longer than those of a single member, which leads in any case.
 */
export const raftOfSeveral = { tickMs: 50 };

/** Starts of the members with fresh ports when someone else took one of them in the meantime. */
const portAttemptsMax = 5;

/** Three members on free ports. */
export async function startMembers(dataDir: string, settings: Settings = {}): Promise<RunningMember[]> {
  for (let attempt = 1; ; attempt++) {
    const ports = await freePorts(3);
    const members = ports.map((port, i) => ({ id: i + 1, address: `127.0.0.1:${port}` }));
    const starts = await Promise.allSettled(
      members.map(({ id }) => startMember(dataDir, id, members, { raft: raftOfSeveral, ...settings })),
    );
    const failed = starts.find((start) => start.status === 'rejected');
    const running = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    if (failed === undefined) return running;
    await Promise.all(running.map((member) => member.stop()));
    if (!(failed.reason instanceof AddressInUseError) || attempt === portAttemptsMax) throw failed.reason;
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Calls a unary method: `call(client, PlacementService.getKeyspace, request)`. */
export function call<Q, A>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Q, A>,
  request: Q,
  timeoutMs = 20_000,
): Promise<A> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + timeoutMs };
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, (error, response) => {
      if (error !== null) reject(error);
      else if (response === undefined) reject(new Error('no response'));
      else resolve(response);
    });
  });
}

/** Polls until it holds; the deadline is a guard against hanging only. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
