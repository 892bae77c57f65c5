import type { ClientDuplexStream } from '@grpc/grpc-js';
import { PlacementService } from '../../../src/gen/skerry/v1/placement.js';
import { assert, must } from '../../../src/base/assert.js';
import type { Epoch, Label, Replica, Shard } from '../../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../../src/gen/skerry/v1/meta.js';
import type {
  CancelMerge,
  ChangeReplicas,
  ForceReplica,
  HeldReplica,
  MergeShard,
  PlacementClient,
  ShardReport,
  SplitShard,
  StoreCommand,
  StoreSessionResponse,
  VerifyShard,
} from '../../../src/gen/skerry/v1/placement.js';
import { ReplicaChecksum, StoreReport, StoreSessionRequest } from '../../../src/gen/skerry/v1/placement.js';
import { call } from './running_members.js';

interface Led {
  shard: Shard;
  leaderStoreId: number;
  term: number;
}

interface World {
  readonly shards: Map<number, Led>;
  readonly stores: Map<number, ScriptedStore>;
}

export function newWorld(): World {
  return { shards: new Map(), stores: new Map() };
}

/**
 * The placement side of a store without the store: registers, holds a session, and does to a shared table of shards what
 * commands say. Real stores are in the cluster tests; these can be told to misbehave.
 */
export class ScriptedStore {
  readonly storeId: number;
  readonly commands: StoreCommand[] = [];
  readonly responses: StoreSessionResponse[] = [];
  /** Commands of these kinds are taken and not carried out. */
  readonly ignored = new Set<string>();
  /** The checksum of every replica here. */
  checksum = 7;
  /** What its heartbeats name as damaged. */
  quarantined: HeldReplica[] = [];
  /** Which list of the placement members it says that it has; undefined: it is of a version that does not say. */
  membersVersion: number | undefined = undefined;
  ended = false;
  private readonly world: World;
  private readonly clusterId: number;
  private stream: ClientDuplexStream<StoreSessionRequest, StoreSessionResponse> | null = null;
  private beat: NodeJS.Timeout | null = null;

  private constructor(world: World, clusterId: number, storeId: number) {
    this.world = world;
    this.clusterId = clusterId;
    this.storeId = storeId;
    world.stores.set(storeId, this);
  }

  static async register(
    world: World,
    client: PlacementClient,
    clusterId: number,
    name: string,
    labels: Label[] = [],
  ): Promise<ScriptedStore> {
    const request = {
      clusterId,
      storeId: 0,
      address: `${name}:1`,
      labels,
      version: '0',
      engine: 'script',
      directoryId: name,
    };
    const answer = await call(client, PlacementService.registerStore, request);
    assert(answer.error === undefined, () => `refused: ${answer.error?.message}`);
    return new ScriptedStore(world, clusterId, answer.storeId);
  }

  connect(client: PlacementClient, held: StoreSessionRequest['held'] = []): void {
    this.disconnect();
    this.ended = false;
    const stream = client.storeSession();
    this.stream = stream;
    stream.on('data', (frame: StoreSessionResponse) => this.receive(frame));
    stream.on('end', () => void (this.ended = true));
    stream.on('error', () => void (this.ended = true));
    this.send({ store: this.storeReport(), held });
    const led = [...this.world.shards.values()].filter((s) => s.leaderStoreId === this.storeId);
    this.send({ shards: led.map((s) => this.reportOf(s.shard.shardId)) });
    this.beat = setInterval(() => this.send({ store: this.storeReport() }), 50);
  }

  /** The newest list of the placement members that it was sent. */
  get listSent(): number {
    return Math.max(0, ...this.responses.map(({ memberList }) => memberList?.version ?? 0));
  }

  disconnect(): void {
    if (this.beat !== null) clearInterval(this.beat);
    this.beat = null;
    this.stream?.cancel();
    this.stream = null;
  }

  send(part: Partial<StoreSessionRequest>): void {
    this.stream?.write({ ...StoreSessionRequest.create(), clusterId: this.clusterId, storeId: this.storeId, ...part });
  }

  private storeReport(): StoreReport {
    const { quarantined, membersVersion } = this;
    const quarantinedCount = quarantined.length;
    const report = { capacityBytes: 1_000_000, incarnation: 1, quarantined, quarantinedCount };
    return StoreReport.create(membersVersion === undefined ? report : { ...report, membersVersion });
  }

  private receive(frame: StoreSessionResponse): void {
    this.responses.push(frame);
    for (const command of frame.commands) {
      this.commands.push(command);
      if (command.command !== undefined && !this.ignored.has(command.command.$case)) this.execute(command);
    }
  }

  private execute({ command }: StoreCommand): void {
    switch (command?.$case) {
      case 'createShards':
        command.value.shards.forEach((shard, i) => {
          const first = shard.replicas.find((r) => r.replicaId === command.value.firstLeaders[i]);
          if (first?.storeId !== this.storeId || this.world.shards.has(shard.shardId)) return;
          this.lead({ ...shard }, 6);
        });
        return;
      case 'transferLeader': {
        const at = this.ledHere(command.value.shardId);
        const heir = at?.shard.replicas.find((r) => r.replicaId === command.value.toReplicaId);
        if (at === null || heir === undefined) return;
        this.world.stores.get(heir.storeId)?.lead(at.shard, at.term + 1);
        this.send({ noLongerLed: [command.value.shardId] });
        return;
      }
      case 'changeReplicas':
        this.change(command.value);
        return;
      case 'splitShard':
        this.split(command.value);
        return;
      case 'verifyShard':
        this.verify(command.value);
        return;
      case 'mergeShard':
        this.merge(command.value);
        return;
      case 'cancelMerge':
        this.cancelMerge(command.value);
        return;
      case 'surveyReplicas':
        this.survey(command.value.surveyId);
        return;
      case 'forceReplica':
        this.goOnAlone(command.value);
        return;
      case 'destroyReplica':
      case undefined:
        return;
    }
  }

  /**
   * Null: this store does not lead the shard, there is none, or not any more as of this epoch. As with real stores, the command came
   * too late then: placement sends one again that is not answered for some seconds, which may be just when it was carried out.
   */
  private ledHere(shardId: number, epoch?: Epoch): Led | null {
    const at = this.world.shards.get(shardId);
    if (at?.leaderStoreId !== this.storeId) return null;
    const { confVer, version } = must(at.shard.epoch, 'an epoch');
    return epoch === undefined || (confVer === epoch.confVer && version === epoch.version) ? at : null;
  }

  /** Every connected store answers for its replica. */
  private verify({ shardId, checkId }: VerifyShard): void {
    for (const { replicaId, storeId } of this.world.shards.get(shardId)?.shard.replicas ?? []) {
      const store = must(this.world.stores.get(storeId), 'the store');
      const { checksum } = store;
      store.send({ checksums: [{ ...ReplicaChecksum.create(), checkId, shardId, replicaId, index: 9, checksum }] });
    }
  }

  /** Makes this store the leader of a shard, with a report. */
  lead(shard: Shard, term: number): void {
    this.world.shards.set(shard.shardId, { shard, leaderStoreId: this.storeId, term });
    this.send({ shards: [this.reportOf(shard.shardId)] });
  }

  private change({ shardId, epoch, changes, joint }: ChangeReplicas): void {
    const at = this.ledHere(shardId);
    if (at === null || at.shard.epoch?.confVer !== epoch?.confVer) return;
    let replicas: Replica[] = at.shard.replicas.map((r) => ({ ...r }));
    for (const { role, replicaId, storeId } of changes) {
      const present = replicas.find((r) => r.replicaId === replicaId);
      if (role === ReplicaRole.UNSPECIFIED && joint && present !== undefined) present.role = ReplicaRole.OUTGOING_VOTER;
      else if (role === ReplicaRole.UNSPECIFIED) replicas = replicas.filter((r) => r !== present);
      else if (present === undefined) replicas.push({ replicaId, storeId, role });
      else present.role = joint ? ReplicaRole.INCOMING_VOTER : role;
    }
    if (changes.length === 0) {
      replicas = replicas.filter((r) => r.role !== ReplicaRole.OUTGOING_VOTER);
      for (const replica of replicas) {
        if (replica.role === ReplicaRole.INCOMING_VOTER) replica.role = ReplicaRole.VOTER;
      }
    }
    const { confVer, version } = must(at.shard.epoch, 'an epoch');
    this.lead({ ...at.shard, replicas, epoch: { confVer: confVer + 1, version } }, at.term);
  }

  private split({ shardId, epoch: asked, splitKey, into }: SplitShard): void {
    const at = this.ledHere(shardId, asked);
    if (at === null) return;
    const { confVer, version } = must(at.shard.epoch, 'an epoch');
    const epoch = { confVer, version: version + 1 };
    const ids = into?.replicaIds ?? [];
    const replicas = at.shard.replicas.map((r, i) => ({ ...r, replicaId: ids[i] ?? 0 }));
    this.lead({ ...at.shard, shardId: into?.shardId ?? 0, startKey: splitKey, epoch, replicas }, 6);
    this.lead({ ...at.shard, endKey: splitKey, epoch }, at.term);
  }

  /** Every replica here, as if each were up to date. */
  private survey(surveyId: number): void {
    const replicas = [...this.world.shards.values()].flatMap(({ shard, term }) => {
      const own = shard.replicas.find((r) => r.storeId === this.storeId);
      const at = { term, lastTerm: term, lastIndex: 9, commitIndex: 9, appliedIndex: 9 };
      return own === undefined ? [] : [{ replicaId: own.replicaId, shard, unusable: false, ...at }];
    });
    this.send({ surveys: [{ surveyId, replicas, last: true }] });
  }

  private goOnAlone({ shardId, replicaId, epoch, term }: ForceReplica): void {
    const { shard } = must(this.world.shards.get(shardId), 'the shard');
    this.lead({ ...shard, epoch, replicas: [{ replicaId, storeId: this.storeId, role: ReplicaRole.VOTER }] }, term + 1);
  }

  /** All at once: real stores need some time. */
  private merge({ shardId, epoch, targetShardId }: MergeShard): void {
    const { shards } = this.world;
    const source = this.ledHere(shardId, epoch);
    const at = this.ledHere(targetShardId);
    if (source === null || at === null) return;
    const { confVer, version: own } = must(at.shard.epoch, 'an epoch');
    const version = Math.max(own, source.shard.epoch?.version ?? 0) + 1;
    const below = Buffer.compare(source.shard.startKey, at.shard.startKey) < 0;
    const [startKey, endKey] = below
      ? [source.shard.startKey, at.shard.endKey]
      : [at.shard.startKey, source.shard.endKey];
    shards.delete(shardId);
    this.send({ noLongerLed: [shardId] });
    const merge = { into: undefined, merged: [{ shardId, version }] };
    this.lead({ ...at.shard, startKey, endKey, epoch: { confVer, version }, merge }, at.term);
  }

  /** Merges happen all at once here, so there is none under way. */
  private cancelMerge({ shardId, epoch }: CancelMerge): void {
    const at = this.world.shards.get(shardId);
    if (at?.leaderStoreId !== this.storeId || at.shard.epoch?.version !== epoch?.version) return;
    const { confVer, version } = must(at.shard.epoch, 'an epoch');
    this.lead({ ...at.shard, epoch: { confVer, version: version + 1 } }, at.term);
  }

  private reportOf(shardId: number): ShardReport {
    const { shard, term } = must(this.world.shards.get(shardId), 'the shard');
    const own = must(
      shard.replicas.find((r) => r.storeId === this.storeId),
      'a replica of its own',
    );
    const progress = shard.replicas.map((r) => ({
      replicaId: r.replicaId,
      down: false,
      pending: false,
      matchIndex: 9,
    }));
    return {
      shard,
      leaderReplicaId: own.replicaId,
      term,
      progress,
      approximateBytes: 100,
      approximateKeys: 10,
      sizeKnown: true,
      readsPerS: 0,
      writesPerS: 0,
    };
  }
}
