import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Client, MethodDefinition } from '@grpc/grpc-js';
import { credentials } from '@grpc/grpc-js';
import { silentLogger } from '../../../src/base/logger.js';
import { AdminClient } from '../../../src/gen/skerry/v1/admin.js';
import { PlacementClient } from '../../../src/gen/skerry/v1/placement.js';
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
  await server.start();
  const placement = new PlacementClient(server.address, credentials.createInsecure());
  const admin = new AdminClient(server.address, credentials.createInsecure());
  const stop = async (): Promise<void> => {
    placement.close();
    admin.close();
    await server.close();
  };
  return { memberId, server, placement, admin, fatal, stop };
}

/** Three members on free ports. */
export async function startMembers(dataDir: string, settings: Settings = {}): Promise<RunningMember[]> {
  const ports = await freePorts(3);
  const members = ports.map((port, i) => ({ id: i + 1, address: `127.0.0.1:${port}` }));
  return Promise.all(members.map(({ id }) => startMember(dataDir, id, members, settings)));
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
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
