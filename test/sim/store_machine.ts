import { silentLogger } from '../../src/base/logger.js';
import { CachedEngine } from '../../src/engine/cached_engine.js';
import { isDataKey } from '../../src/engine/keys.js';
import { cacheBytesMin } from '../../src/engine/limits.js';
import type { RaftLog } from '../../src/raftlog/raft_log.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import { MemoryTransport } from '../../src/transport/memory_network.js';
import { kvGrpcService } from '../../store/kv_grpc.js';
import { placementCallTimeoutMs } from '../../store/limits.js';
import { PlacementMembers, PlacementRefusal } from '../../store/placement_members.js';
import { RpcPlacementConnector } from '../../store/placement_rpc.js';
import { Store } from '../../store/store.js';
import type { VirtualRuntime } from '../support/virtual_runtime.js';
import { diskReserveBytes, Machine } from './machine.js';

export const logDirectory = '/raftlog';
const segmentBytes = 64 * 1024;

/** A machine with a store. What its identity file would hold is kept here: it is written once, synced, before the store serves. */
export class StoreMachine extends Machine {
  store: Store | null = null;
  raftLog: RaftLog | null = null;
  storeId = 0;
  clusterId = 0;
  private directoryId = this.newDirectoryId();
  private incarnation = 0;

  /** A new, empty disk makes a new store. */
  override loseDisk(): void {
    super.loseDisk();
    this.storeId = 0;
    this.directoryId = this.newDirectoryId();
  }

  protected async startProcess(runtime: VirtualRuntime): Promise<void> {
    const { net } = this.around;
    const incarnation = ++this.incarnation;
    const connector = new RpcPlacementConnector(net.rpc.dial(this.name, runtime));
    const members = new PlacementMembers(this.around.placementToAsk(), runtime);
    if (this.storeId === 0) await this.register(connector, members);
    const { clusterId, storeId } = this;
    const fatal = this.fatal(runtime);
    const disk = this.disk.mount(runtime);
    const log = { disk, directory: logDirectory, runtime, logger: silentLogger, segmentBytes };
    const raftLog = await openRaftLog({ ...log, onFatal: fatal });
    const host = { hostId: storeId, clusterId, incarnation, runtime, logger: silentLogger };
    const transport = new MemoryTransport({ ...host, network: net.storeRaft, address: this.name });
    net.join(this.name, net.storeRaft, storeId, runtime);
    const store = await Store.open({
      clusterId,
      storeId,
      incarnation,
      runtime,
      logger: silentLogger,
      disk,
      // Small, so that it evicts.
      engine: new CachedEngine(this.engine, { bytes: cacheBytesMin, keeps: isDataKey }),
      raftLog,
      transport,
      connector,
      members,
      dataDirectory: '/',
      stagingDirectory: '/staging',
      reportIntervalMs: 1_000,
      capacityBytes: 0,
      diskReserveBytes,
      // So that shards hibernate between two operations.
      raft: { hibernateAfterTicks: 4 },
      fatal,
    });
    net.rpc.listen(this.name, runtime, [kvGrpcService(store.kv, runtime)]);
    await store.start();
    this.raftLog = raftLog;
    this.store = store;
    this.announce(connector, members).catch((error: unknown) => this.refused(runtime, error));
  }

  protected forgetProcess(): void {
    this.store = null;
    this.raftLog = null;
  }

  private async register(connector: RpcPlacementConnector, members: PlacementMembers): Promise<void> {
    const quiet = (): void => undefined;
    const { clusterId } = await members.ask((member) => connector.bootstrap(member, placementCallTimeoutMs), quiet);
    this.clusterId = clusterId;
    const { storeId } = await members.ask(
      (member) => connector.registerStore(member, this.registration(), placementCallTimeoutMs),
      quiet,
    );
    this.storeId = storeId;
  }

  private async announce(connector: RpcPlacementConnector, members: PlacementMembers): Promise<void> {
    await members.ask(
      (member) => connector.registerStore(member, this.registration(), placementCallTimeoutMs),
      () => undefined,
    );
  }

  /**
   * A drained store was removed from the cluster. People give its machine back as a new store, with an empty disk. Any other
   * refusal is a fault: it would cost a disk that nobody meant to lose.
   */
  private refused(runtime: VirtualRuntime, error: unknown): void {
    if (!(error instanceof PlacementRefusal) || error.typed.detail?.$case !== 'failedPrecondition') {
      this.fatal(runtime)(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (this.runtime !== runtime) return;
    this.around.note(`${this.name} is refused: ${error.message}`);
    this.retire();
  }

  /** Takes a store out of service whose removal is complete; its machine comes back as a new store. */
  retire(): void {
    this.loseDisk();
    this.boot();
  }

  private registration(): Parameters<RpcPlacementConnector['registerStore']>[1] {
    const { clusterId, storeId, directoryId, name } = this;
    return { clusterId, storeId, address: name, labels: [], version: 'sim', engine: 'memory', directoryId };
  }

  private newDirectoryId(): string {
    return `${this.name}-${this.prng.nextU32()}`;
  }
}
