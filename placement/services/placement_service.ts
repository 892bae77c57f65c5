import type { Metadata, ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import type { TypedError } from '../../src/base/wire_errors.js';
import {
  clusterMismatch,
  failedPrecondition,
  invalidArgument,
  keyspaceNotFound,
  placementUnavailable,
  serverIsBusy,
  shardNotFound,
  storeNotFound,
} from '../../src/base/wire_errors.js';
import type { ShardRoute, Store } from '../../src/gen/skerry/v1/meta.js';
import type {
  ListRoutesRequest,
  PlacementServer,
  RegisterStoreRequest,
  StoreSessionRequest,
  StoreSessionResponse,
  WatchRoutesRequest,
  WatchRoutesResponse,
} from '../../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import {
  addressBytesMax,
  idsPerCallMax,
  labelBytesMax,
  labelsPerStoreMax,
  leaderWaitMs,
  routesPerPageDefault,
  routesPerPageMax,
} from '../limits.js';
import { forwardedKey } from '../member_lines.js';
import type { PlacementMember } from '../placement_member.js';
import type { KeyspaceRecord } from '../state/records.js';
import type { StoreSession } from '../store_sessions.js';
import { redirect } from '../store_sessions.js';
import { WireFault } from '../wire_fault.js';
import { keyspaceToWire, routeOf, storeToWire } from './convert.js';
import type { CallContext } from './unary.js';
import { atLeader, local } from './unary.js';

/** The service that stores and routing clients use. */
export function placementService(member: PlacementMember): PlacementServer {
  const methods = PlacementService;
  return {
    getClusterInfo: local(member, methods.getClusterInfo, () => ({
      clusterId: member.state.clusterId,
      members: member.members().map(({ id, address }) => ({ memberId: id, address })),
      leaderId: member.leaderId(),
      memberId: member.options.memberId,
      memberList: member.memberList(),
    })),
    // The leader bootstraps by itself; this waits until it has.
    bootstrap: atLeader(member, methods.bootstrap, async (_request, ctx) => {
      await member.waiters.wait(() => member.state.clusterId !== 0, ctx.remainingMs());
      if (member.state.clusterId === 0) throw new WireFault(placementUnavailable(member.leaderAddress()));
      return { clusterId: member.state.clusterId };
    }),
    registerStore: atLeader(member, methods.registerStore, async (request) => {
      checkRegistration(request);
      const { storeId, address, labels, version, engine, directoryId } = request;
      const id = await member.proposer.propose({
        kind: 'registerStore',
        storeId,
        address,
        labels,
        version,
        engine,
        directoryId,
      });
      return { storeId: id, clusterId: member.state.clusterId };
    }),
    allocateIds: atLeader(member, methods.allocateIds, async ({ count }) => {
      if (count < 1 || count > idsPerCallMax) throw new WireFault(invalidArgument('count', 'COUNT_OUT_OF_RANGE'));
      return { firstId: await member.proposer.propose({ kind: 'allocateIds', count }), count };
    }),
    getKeyspace: local(member, methods.getKeyspace, async ({ name }, ctx) => {
      const find = (): KeyspaceRecord | undefined => visible(member.state.keyspaceByName(name));
      const keyspace = await findUpToDate(ctx, find);
      if (keyspace === undefined) throw new WireFault(keyspaceNotFound(name, 0));
      return { keyspace: keyspaceToWire(keyspace) };
    }),
    lookupRoute: local(member, methods.lookupRoute, async ({ keyspaceId, encodedKey }, ctx) => {
      await requireKeyspace(ctx, keyspaceId);
      const shard = member.state.shardAt(keyspaceId, encodedKey);
      // Between the reports of a split's two halves; the caller asks again.
      if (shard === undefined) throw new WireFault(shardNotFound(0));
      const route = routeOf(shard, member.leaders);
      return { route, stores: storesOf(member, [route]) };
    }),
    listRoutes: local(member, methods.listRoutes, (request, ctx) => listRoutes(request, ctx)),
    getShardById: local(member, methods.getShardById, async ({ shardId, keyspaceId, startKey }, ctx) => {
      const byId = await findUpToDate(ctx, () => member.state.shard(shardId));
      // Merged away, perhaps: whoever knows its range hears who holds it now.
      const { state } = member;
      const shard =
        byId ?? state.holderOf(shardId) ?? (keyspaceId === 0 ? undefined : state.shardAt(keyspaceId, startKey));
      if (shard === undefined) throw new WireFault(shardNotFound(shardId));
      return { route: routeOf(shard, member.leaders) };
    }),
    listStoreAddresses: local(member, methods.listStoreAddresses, () => ({
      stores: [...member.state.stores()].map((store) => storeToWire(store, member.state, null)),
    })),
    watchRoutes: (call) => watchRoutes(member, call),
    storeSession: (call) => storeSession(member, call),
  };
}

/** A keyspace that is still being planned is not there yet. */
function visible(keyspace: KeyspaceRecord | undefined): KeyspaceRecord | undefined {
  return keyspace?.phase === 'planning' ? undefined : keyspace;
}

/** Looks again with everything applied that was acknowledged before: this member may lag behind the one that created it. */
async function findUpToDate<T>(ctx: CallContext, find: () => T | undefined): Promise<T | undefined> {
  const { member } = ctx;
  const found = find();
  if (found !== undefined) return found;
  if (member.leading !== null) return undefined;
  if (await member.catchUp(Math.min(leaderWaitMs, ctx.remainingMs()))) return find();
  throw new WireFault(placementUnavailable(member.leaderAddress()));
}

async function requireKeyspace(ctx: CallContext, keyspaceId: number): Promise<void> {
  const found = await findUpToDate(ctx, () => visible(ctx.member.state.keyspace(keyspaceId)));
  if (found === undefined) throw new WireFault(keyspaceNotFound('', keyspaceId));
}

async function listRoutes(
  request: ListRoutesRequest,
  ctx: CallContext,
): Promise<{ routes: ShardRoute[]; stores: Store[]; more: boolean }> {
  const { member } = ctx;
  await requireKeyspace(ctx, request.keyspaceId);
  const limit = request.limit === 0 ? routesPerPageDefault : Math.min(request.limit, routesPerPageMax);
  const routes: ShardRoute[] = [];
  let more = false;
  for (const shard of member.state.shardsIn(request.keyspaceId, request.startKey, request.endKey)) {
    more = routes.length === limit;
    if (more) break;
    routes.push(routeOf(shard, member.leaders));
  }
  return { routes, stores: storesOf(member, routes), more };
}

/** The stores that hold the shards of some routes. */
function storesOf(member: PlacementMember, routes: readonly ShardRoute[]): Store[] {
  const ids = new Set(routes.flatMap((route) => route.shard?.replicas.map((r) => r.storeId) ?? []));
  return [...ids].flatMap((id) => {
    const store = member.state.store(id);
    return store === undefined ? [] : [storeToWire(store, member.state, null)];
  });
}

function checkRegistration(request: RegisterStoreRequest): void {
  const refuse = (field: string, reason: string): never => {
    throw new WireFault(invalidArgument(field, reason));
  };
  const bytes = (text: string): number => Buffer.byteLength(text, 'utf8');
  if (request.address === '') refuse('address', 'ADDRESS_EMPTY');
  if (bytes(request.address) > addressBytesMax) refuse('address', 'ADDRESS_TOO_LONG');
  if (request.directoryId === '') refuse('directory_id', 'DIRECTORY_ID_EMPTY');
  if (bytes(request.directoryId) > labelBytesMax) refuse('directory_id', 'DIRECTORY_ID_TOO_LONG');
  if (request.labels.length > labelsPerStoreMax) refuse('labels', 'TOO_MANY_LABELS');
  for (const { key, value } of request.labels) {
    if (key === '' || value === '') refuse('labels', 'LABEL_EMPTY');
    if (bytes(key) > labelBytesMax || bytes(value) > labelBytesMax) refuse('labels', 'LABEL_TOO_LONG');
  }
  if (new Set(request.labels.map((l) => l.key)).size !== request.labels.length) refuse('labels', 'LABEL_TWICE');
}

function isForwarded(call: { readonly metadata: Metadata }): boolean {
  return call.metadata.get(forwardedKey).length > 0;
}

function clusterFault(member: PlacementMember, clusterId: number): TypedError | null {
  const actual = member.state.clusterId;
  if (actual === 0) return failedPrecondition('NOT_BOOTSTRAPPED', 'the cluster is not bootstrapped yet');
  return clusterId === actual ? null : clusterMismatch(clusterId, actual);
}

function watchRoutes(
  member: PlacementMember,
  call: ServerWritableStream<WatchRoutesRequest, WatchRoutesResponse>,
): void {
  const { clusterId, keyspaceId } = call.request;
  const refuse = (error: TypedError): void => {
    call.write({ error, routes: [], stores: [], initialDone: false, memberList: undefined });
    call.end();
  };
  const fault = clusterFault(member, clusterId);
  if (fault !== null) {
    refuse(fault);
    return;
  }
  const mirror = isForwarded(call);
  if (mirror && member.leading === null) {
    refuse(placementUnavailable(member.leaderAddress()));
    return;
  }
  if (keyspaceId !== 0 && visible(member.state.keyspace(keyspaceId)) === undefined) {
    refuse(keyspaceNotFound('', keyspaceId));
    return;
  }
  const watcher = member.feed.watch(keyspaceId, mirror, {
    write: (frame) => call.write(frame),
    end: () => call.end(),
  });
  if (watcher === null) {
    refuse(serverIsBusy('placement.watchers', 1_000));
    return;
  }
  call.on('drain', () => watcher.drained());
  call.on('cancelled', () => watcher.close());
  call.on('error', () => watcher.close());
  call.on('close', () => watcher.close());
}

/** The first frame says which store it is; the session lasts until either side ends it or this member stops leading. */
function storeSession(
  member: PlacementMember,
  call: ServerDuplexStream<StoreSessionRequest, StoreSessionResponse>,
): void {
  let session: StoreSession | null = null;
  let ended = false;
  const end = (last: StoreSessionResponse | null): void => {
    session?.close();
    if (ended) return;
    ended = true;
    if (last !== null) call.write(last);
    call.end();
  };
  call.on('data', (frame: StoreSessionRequest) => {
    if (ended) return;
    const work = member.leading;
    if (work === null) {
      end(redirect(member.leaderAddress()));
      return;
    }
    if (session === null) {
      const fault = clusterFault(member, frame.clusterId) ?? storeFault(member, frame.storeId);
      if (fault !== null) {
        end({ error: fault, commands: [], stores: [], leaderAddress: '', memberList: undefined });
        return;
      }
      session = work.openSession(frame.storeId, {
        write: (response) => !call.destroyed && call.write(response),
        end: () => end(null),
      });
      work.frame(session, frame);
      work.sessionReady(frame.storeId, new Set(frame.held.map((h) => h.shardId)));
      return;
    }
    work.frame(session, frame);
  });
  call.on('drain', () => session?.drained());
  call.on('end', () => end(null));
  call.on('cancelled', () => end(null));
  call.on('error', () => end(null));
}

function storeFault(member: PlacementMember, storeId: number): TypedError | null {
  const store = member.state.store(storeId);
  if (store === undefined) return storeNotFound(storeId);
  if (store.state !== 'tombstone') return null;
  return failedPrecondition('STORE_TOMBSTONE', `store ${storeId} was removed from the cluster`);
}
