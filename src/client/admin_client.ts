import { must } from '../base/assert.js';
import { nodeRuntime } from '../base/node_runtime.js';
import type { Runtime } from '../base/runtime.js';
import type { Dial, RpcMethod } from '../rpc/channel.js';
import { dialGrpc } from '../rpc/grpc_channel.js';
import type {
  Decision,
  GetClusterStatusResponse,
  GetDrainResponse,
  Operator,
  PlacementPolicy,
  Schedule,
  ShardStatus,
  VerifyShardResponse,
} from '../gen/skerry/v1/admin.js';
import { AdminService } from '../gen/skerry/v1/admin.js';
import type { MemberStatus } from '../gen/skerry/v1/members.js';
import { MembersService } from '../gen/skerry/v1/members.js';
import type { RecoverApplyResponse, RecoverPlanResponse, ShardRecoveryStatus } from '../gen/skerry/v1/recover.js';
import { RecoverService } from '../gen/skerry/v1/recover.js';
import type { Keyspace, Store } from '../gen/skerry/v1/meta.js';
import { Partitioning } from '../gen/skerry/v1/meta.js';
import { timeoutMsOf } from './arguments.js';
import type { KeyLike } from './arguments.js';
import type { KeyspaceCalls } from './keyspace_creation.js';
import { createKeyspace } from './keyspace_creation.js';
import { adminWaitMsMax, shardsPageMax, timeoutMsDefault } from './limits.js';
import { placementAddressesOf } from './members.js';
import { PlacementClient } from './placement_client.js';
import type { CallLimits, TypedReply } from './placement_members.js';

export interface AdminOptions {
  readonly placement: readonly string[] | string;
  /** The time of a call that does not wait for a change to complete; default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** The time of a call that waits (`wait: true`); default 10 minutes. */
  readonly waitMs?: number | undefined;
  readonly runtime?: Runtime | undefined;
  /** How members are reached; default: gRPC. For tests. */
  readonly dial?: Dial | undefined;
}

export interface CreateKeyspaceOptions {
  /** Hash shards; default 16. */
  readonly shards?: number | undefined;
  /** Makes a range keyspace with one shard more than there are keys here. */
  readonly splitKeys?: readonly KeyLike[] | undefined;
  /** Makes a range keyspace even without split keys. */
  readonly range?: boolean | undefined;
  readonly replicas?: number | undefined;
  /** What the keyspace wants of its replicas, instead of a number of them. */
  readonly policy?: PlacementPolicy | undefined;
  /** Resolve only when every shard has a leader. */
  readonly wait?: boolean | undefined;
}

/**
 * The Admin service, typed, at any placement member. Calls that change something are not repeated when they break
 * off after they were sent: they reject with UNDETERMINED, and a look tells whether they took effect. Creating a keyspace looks itself.
 */
export class AdminClient {
  readonly #placement: PlacementClient;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  readonly #waitMs: number;

  private constructor(placement: PlacementClient, runtime: Runtime, timeoutMs: number, waitMs: number) {
    this.#placement = placement;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
    this.#waitMs = waitMs;
  }

  /** Finds the cluster. @throws SkerryError PLACEMENT_UNAVAILABLE, FAILED_PRECONDITION (not bootstrapped), INVALID_ARGUMENT */
  static async connect(options: AdminOptions): Promise<AdminClient> {
    const runtime = options.runtime ?? nodeRuntime();
    const timeoutMs = timeoutMsOf(options.timeoutMs ?? timeoutMsDefault);
    const waitMs = timeoutMsOf(options.waitMs ?? adminWaitMsMax);
    const placement = new PlacementClient(
      placementAddressesOf(options.placement),
      runtime,
      options.dial ?? dialGrpc(runtime),
    );
    try {
      await placement.findCluster(runtime.nowMs() + timeoutMs);
    } catch (error) {
      placement.close();
      throw error;
    }
    return new AdminClient(placement, runtime, timeoutMs, waitMs);
  }

  get clusterId(): number {
    return this.#placement.clusterId;
  }

  #limits(repeatable: boolean, wait: boolean): CallLimits {
    const deadlineMs = this.#runtime.nowMs() + (wait ? this.#waitMs : this.#timeoutMs);
    return wait ? { deadlineMs, repeatable, attemptMs: this.#waitMs } : { deadlineMs, repeatable };
  }

  #read<Request, Reply extends TypedReply>(
    method: RpcMethod<Request & { clusterId: number }, Reply>,
    request: Request,
  ): Promise<Reply> {
    return this.#placement.members.call(method, { ...request, clusterId: this.clusterId }, this.#limits(true, false));
  }

  #change<Request, Reply extends TypedReply>(
    method: RpcMethod<Request & { clusterId: number }, Reply>,
    request: Request,
    wait = false,
  ): Promise<Reply> {
    return this.#placement.members.call(method, { ...request, clusterId: this.clusterId }, this.#limits(false, wait));
  }

  async #operator<Request extends { wait: boolean }, Reply extends TypedReply & { operator?: Operator | undefined }>(
    method: RpcMethod<Request & { clusterId: number }, Reply>,
    request: Request,
  ): Promise<Operator> {
    return must((await this.#change(method, request, request.wait)).operator, 'an operator in the reply');
  }

  /** Goes on when the connection breaks: see keyspace_creation.ts. */
  async createKeyspace(name: string, options: CreateKeyspaceOptions = {}): Promise<Keyspace> {
    const request = creationOf(name, options);
    const { splitKeys } = request;
    const isRange = request.partitioning === Partitioning.RANGE;
    const calls: KeyspaceCalls = {
      list: () => this.listKeyspaces(),
      create: async () => {
        const reply = await this.#change(AdminService.createKeyspace, request, request.wait);
        return must(reply.keyspace, 'a keyspace in the reply');
      },
    };
    const shape = { ...request, shards: isRange ? splitKeys.length + 1 : request.shards };
    const { deadlineMs } = this.#limits(false, request.wait);
    return createKeyspace(calls, shape, this.#runtime, deadlineMs);
  }

  /** Creates nothing: which stores would get how many replicas of it. @throws SkerryError as createKeyspace() */
  async planKeyspace(name: string, options: CreateKeyspaceOptions = {}): Promise<string[]> {
    return (await this.#read(AdminService.createKeyspace, { ...creationOf(name, options), plan: true })).changes;
  }

  async listKeyspaces(): Promise<Keyspace[]> {
    return (await this.#read(AdminService.listKeyspaces, {})).keyspaces;
  }

  /** All shards of a keyspace (empty: of all) with a replica on a store (0: on any), by id, a page at a time. */
  async *listShards(keyspace = '', storeId = 0): AsyncGenerator<ShardStatus, void, undefined> {
    let afterShardId = 0;
    for (;;) {
      const request = { keyspace, storeId, afterShardId, limit: shardsPageMax };
      const page = await this.#read(AdminService.listShards, request);
      yield* page.shards;
      const last = page.shards.at(-1)?.route?.shard?.shardId;
      if (!page.more || last === undefined) return;
      afterShardId = last;
    }
  }

  async getShard(shardId: number): Promise<ShardStatus> {
    return must((await this.#read(AdminService.getShard, { shardId })).shard, 'a shard in the reply');
  }

  /** Compares the shard's replicas now. Takes as long as reading them does, `waitMs` at most. */
  verifyShard(shardId: number): Promise<VerifyShardResponse> {
    const request = { shardId, clusterId: this.clusterId };
    return this.#placement.members.call(AdminService.verifyShard, request, this.#limits(true, true));
  }

  mergeShards(request: { shardId: number; targetShardId: number; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.mergeShards, request);
  }

  splitShard(request: { shardId: number; splitKey: Buffer; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.splitShard, request);
  }

  addReplica(request: { shardId: number; storeId: number; learner: boolean; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.addReplica, request);
  }

  moveReplica(request: { shardId: number; fromStoreId: number; toStoreId: number; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.moveReplica, request);
  }

  removeReplica(request: { shardId: number; storeId: number; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.removeReplica, request);
  }

  promoteLearner(request: { shardId: number; storeId: number; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.promoteLearner, request);
  }

  transferLeader(request: { shardId: number; storeId: number; wait: boolean }): Promise<Operator> {
    return this.#operator(AdminService.transferLeader, request);
  }

  async listStores(): Promise<Store[]> {
    return (await this.#read(AdminService.listStores, {})).stores;
  }

  /** Begins to empty a store, or takes it back into use. */
  /** leadersOnly: maintenance, in which replicas stay. */
  async drainStore(storeId: number, cancel = false, leadersOnly = false): Promise<Store> {
    return must(
      (await this.#change(AdminService.drainStore, { storeId, cancel, leadersOnly })).store,
      'a store in the reply',
    );
  }

  /** What is still on a store that is being drained or in maintenance. @throws SkerryError FAILED_PRECONDITION NOT_DRAINING */
  getDrain(storeId: number): Promise<GetDrainResponse> {
    return this.#read(AdminService.getDrain, { storeId });
  }

  /** What placement does by the clock. */
  async listSchedules(): Promise<Schedule[]> {
    return (await this.#read(AdminService.listSchedules, {})).schedules;
  }

  /** shardId 0: of any shard. The history goes back over changes of the placement leader. */
  async listOperators(history = false, shardId = 0): Promise<Operator[]> {
    return (await this.#read(AdminService.listOperators, { history, shardId })).operators;
  }

  /**
   * Stops an operator where it is. A merge that the stores have begun is taken back, and runs until they have; with `wait`, the answer
   * comes after that.
   *
   * @throws SkerryError FAILED_PRECONDITION, having waited: OPERATOR_SUCCESS, the stores had merged; OPERATOR_TIMEOUT, the merge's target has not
   * decided yet.
   */
  async cancelOperator(operatorId: number, wait = false): Promise<Operator> {
    return this.#operator(AdminService.cancelOperator, { operatorId, wait });
  }

  /** What placement wants for a shard, and what holds it back. */
  async whyShard(shardId: number): Promise<Decision[]> {
    return (await this.#read(AdminService.whyShard, { shardId })).decisions;
  }

  async whyStore(storeId: number): Promise<Decision[]> {
    return (await this.#read(AdminService.whyStore, { storeId })).decisions;
  }

  /** What the policy sets in motion; with `plan` nothing is changed. */
  async setKeyspacePolicy(keyspace: string, policy: PlacementPolicy, plan = false): Promise<string[]> {
    return (await this.#change(AdminService.setKeyspacePolicy, { keyspace, policy, plan })).changes;
  }

  async getKeyspacePolicy(keyspace: string): Promise<PlacementPolicy> {
    return must((await this.#read(AdminService.getKeyspacePolicy, { keyspace })).policy, 'a policy in the reply');
  }

  clusterStatus(): Promise<GetClusterStatusResponse> {
    return this.#read(AdminService.getClusterStatus, {});
  }

  async listMembers(): Promise<MemberStatus[]> {
    return (await this.#read(MembersService.list, {})).members;
  }

  /** Takes a placement member in; with `wait`, resolves when it votes. Idempotent, so a call that broke off is repeated. */
  async addMember(address: string, wait = false): Promise<number> {
    const request = { address, wait, clusterId: this.clusterId };
    return (await this.#placement.members.call(MembersService.add, request, this.#limits(true, wait))).memberId;
  }

  /**
   * Takes a placement member out; with `wait`, resolves when it is. Idempotent.
   * @throws SkerryError FAILED_PRECONDITION STORES_NOT_TOLD, unless with `force`: `details.storeIds` have heard of no voter that stays
   */
  async removeMember(memberId: number, wait = false, force = false): Promise<void> {
    const request = { memberId, wait, force, clusterId: this.clusterId };
    await this.#placement.members.call(MembersService.remove, request, this.#limits(true, wait));
  }

  /** What would be kept of shards that lost their majority with these stores. Changes nothing. */
  async planRecovery(deadStoreIds: readonly number[]): Promise<Omit<RecoverPlanResponse, 'error'>> {
    const { planId, shards, unrecoverable, confirmation } = await this.#read(RecoverService.plan, {
      deadStoreIds: [...deadStoreIds],
    });
    return { planId, shards, unrecoverable, confirmation };
  }

  /**
   * Removes the dead stores for good and has what is left of their shards go on. One that broke off may have been applied in part: the next plan has the rest.
   * @throws SkerryError FAILED_PRECONDITION PLAN_CHANGED, STORE_ALIVE, STORE_SILENT; INVALID_ARGUMENT NOT_CONFIRMED
   */
  async applyRecovery(
    deadStoreIds: readonly number[],
    planId: string,
    confirmation: string,
    wait = false,
  ): Promise<Pick<RecoverApplyResponse, 'shards' | 'underWay'>> {
    const request = { clusterId: this.clusterId, deadStoreIds: [...deadStoreIds], planId, confirmation, wait };
    const { shards, underWay } = await this.#placement.members.call(
      RecoverService.apply,
      request,
      this.#limits(false, wait),
    );
    return { shards, underWay };
  }

  async recoveryStatus(): Promise<ShardRecoveryStatus[]> {
    return (await this.#read(RecoverService.status, {})).shards;
  }

  close(): void {
    this.#placement.close();
  }
}

function creationOf(name: string, options: CreateKeyspaceOptions) {
  const isRange = options.range === true || options.splitKeys !== undefined;
  return {
    name,
    partitioning: isRange ? Partitioning.RANGE : Partitioning.HASH,
    shards: options.shards ?? 0,
    splitKeys: (options.splitKeys ?? []).map((key) => (typeof key === 'string' ? Buffer.from(key) : key)),
    // With a policy its voters, by which a keyspace that is found later is known to be this one.
    replicaCount: options.replicas ?? options.policy?.voters ?? 0,
    wait: options.wait ?? false,
    policy: options.policy,
    plan: false,
  };
}
