import { assert } from '../base/assert.js';
import type { Disk } from '../base/disk.js';
import type { Logger } from '../base/logger.js';
import type { Runtime } from '../base/runtime.js';
import type { Engine } from '../engine/engine.js';
import type { Message } from '../raft/message.js';
import type { RaftLog } from '../raftlog/raft_log.js';
import type { GoneNotice, Transport } from '../transport/transport.js';
import { ApplyLoop } from './apply_loop.js';
import { AwakeSet } from './awake_set.js';
import { Beats } from './beats.js';
import { Budget } from './budget.js';
import { Compactor } from './compactor.js';
import type { HostContext } from './context.js';
import { coreSettings } from './core_config.js';
import { Counters } from './counters.js';
import { Deferred } from './deferred.js';
import { DiskStall } from './disk_stall.js';
import { EarlyCampaigns } from './early_campaigns.js';
import { Forwarding } from './forwarding.js';
import type { Group, GroupSpec, HostCallbacks, MultiRaft, MultiRaftStats } from './host.js';
import { HostLiveness } from './host_liveness.js';
import { Inbound, type PeerDirectory } from './inbound.js';
import { HostLeaseClock } from './lease_clock.js';
import { LogWriter } from './log_writer.js';
import { completeOptions, type MultiRaftOptionsInput } from './options.js';
import { Outbox } from './outbox.js';
import { Peer } from './peer.js';
import type { PeerParts } from './peer_parts.js';
import { prepareLog, ReplicaDataLostError } from './prepare_log.js';
import { SnapshotInstaller } from './snapshot_installer.js';
import { SnapshotReceiver } from './snapshot_receiver.js';
import { SnapshotSender } from './snapshot_sender.js';
import { SuspectHosts } from './suspect_hosts.js';
import { Ticker } from './ticker.js';
import { Turn } from './turn.js';

export interface MultiRaftConfig {
  readonly hostId: number;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Belongs to the host from now on: close() closes it. */
  readonly log: RaftLog;
  readonly engine: Engine;
  /** Belongs to the host from now on: close() closes it. */
  readonly transport: Transport;
  readonly disk: Disk;
  /** Where incoming snapshots are staged. Only the host writes there while it runs. */
  readonly stagingDirectory: string;
  readonly callbacks: HostCallbacks;
  readonly options?: MultiRaftOptionsInput;
}

/** Makes a host. Add the groups that are on disk, then start() it. */
export function createMultiRaft(config: MultiRaftConfig): MultiRaft {
  return new MultiRaftHost(config);
}

/** Wires the parts of a host together and keeps its groups. */
class MultiRaftHost implements MultiRaft, PeerDirectory {
  readonly hostId: number;
  readonly engine: Engine;
  private readonly host: HostContext;
  private readonly peers = new Map<number, Peer>();
  private readonly parts: PeerParts;
  private readonly campaigns: EarlyCampaigns;
  private readonly forwarding: Forwarding;
  private readonly compactor: Compactor;
  private readonly ticker: Ticker;
  private readonly inbound: Inbound;
  /** Groups whose log is being dropped. */
  private readonly removing = new Map<number, Promise<void>>();
  private closing: Promise<void> | null = null;

  constructor(config: MultiRaftConfig) {
    this.hostId = config.hostId;
    this.engine = config.engine;
    const host = (this.host = this.makeContext(config));
    const beats = new Beats(host);
    const writer = new LogWriter(host);
    const apply = new ApplyLoop(host);
    const turn = new Turn(host, writer, beats, apply);
    const outbox = new Outbox(host, beats);
    const installer = new SnapshotInstaller(host, config.disk);
    const sender = new SnapshotSender(host);
    const nextReadContext = readContexts(config.runtime);
    const suspects = new SuspectHosts(host);
    const liveness = new HostLiveness(
      host,
      (hostId) => this.campaigns.hostLost(hostId),
      (hostId) => this.campaigns.hostBack(hostId),
    );
    const awake = new AwakeSet();
    const settings = coreSettings(host);
    this.parts = { host, settings, turn, writer, outbox, apply, installer, sender, awake, liveness, nextReadContext };
    const stall = new DiskStall(host, writer, this.peers, suspects);
    this.campaigns = new EarlyCampaigns(host, liveness, suspects, this.peers);
    this.forwarding = new Forwarding(host);
    this.compactor = new Compactor(host, beats, this.peers);
    const work = [writer, apply, liveness, stall, this.campaigns, this.forwarding, this.compactor];
    this.ticker = new Ticker(host, beats, awake, work);
    const receiver = new SnapshotReceiver(host, config.disk, config.stagingDirectory, installer, (fromHost, head) =>
      this.findOrMake(fromHost, head.groupId, head.message),
    );
    this.inbound = new Inbound(
      host,
      writer,
      beats,
      liveness,
      suspects,
      this.campaigns,
      this.forwarding,
      receiver,
      this,
    );
  }

  async start(): Promise<void> {
    await this.host.transport.start(this.inbound);
    if (this.host.failed || this.host.closed) return;
    this.parts.turn.start();
    this.ticker.start();
  }

  async addGroup(spec: GroupSpec): Promise<Group> {
    // Its log is being dropped; what is written for the new peer has to come after that. Otherwise the peer is
    // there when this call returns, so that no message can make another in between.
    const removing = this.removing.get(spec.groupId);
    if (removing !== undefined) await removing;
    const running = this.peers.get(spec.groupId);
    if (running !== undefined) this.replaceUninitialized(running, spec);
    const { peer, synced } = this.makePeer(spec);
    await synced;
    return peer;
  }

  group(groupId: number): Group | undefined {
    return this.peers.get(groupId);
  }

  groups(): IterableIterator<Group> {
    return this.peers.values();
  }

  get groupCount(): number {
    return this.peers.size;
  }

  async removeGroup(groupId: number): Promise<void> {
    const peer = this.peers.get(groupId);
    const removing = this.removing.get(groupId);
    if (removing !== undefined && peer === undefined) return removing;
    if (peer === undefined && this.host.log.group(groupId) === undefined) return;
    this.peers.delete(groupId);
    if (peer?.isLeader() === true) this.parts.outbox.leaderStopped(peer);
    const done = this.dropLog(groupId, peer).finally(() => this.removing.delete(groupId));
    this.removing.set(groupId, done);
    return done;
  }

  async stopGroup(groupId: number): Promise<void> {
    const peer = this.peers.get(groupId);
    if (peer === undefined) return;
    this.peers.delete(groupId);
    if (peer.isLeader()) this.parts.outbox.leaderStopped(peer);
    await peer.stop();
  }

  forward(hostId: number, payload: Buffer, timeoutMs: number): Promise<Buffer> {
    return this.forwarding.send(hostId, payload, timeoutMs);
  }

  retryHeld(): void {
    this.parts.apply.retryHeld();
  }

  sendGone(hostId: number, gone: GoneNotice): void {
    this.host.transport.sendGone(hostId, gone);
    this.host.wake();
  }

  refuseEntries(refuse: boolean): void {
    this.host.refusesEntries = refuse;
  }

  stats(): MultiRaftStats {
    let leaders = 0;
    for (const peer of this.peers.values()) if (peer.isLeader()) leaders++;
    const { counters, syncAgeMs, diskStalled } = this.host;
    const { stalls: leaseStalls } = this.host.leaseClock;
    const groups = this.peers.size;
    const hibernating = groups - this.parts.awake.size;
    return counters.snapshot({ groups, leaders, hibernating, leaseStalls, syncAgeMs, diskStalled });
  }

  close(): Promise<void> {
    return (this.closing ??= this.closeAll());
  }

  find(groupId: number): Peer | undefined {
    return this.peers.get(groupId);
  }

  findOrMake(fromHost: number, groupId: number, message: Message): Peer | null {
    const existing = this.peers.get(groupId);
    if (existing?.replicaId === message.to) return existing;
    if (this.removing.has(groupId)) return null;
    const spec = this.host.callbacks.unknownGroup(fromHost, groupId, message);
    // An outdated replica of the group may be here: the store removes it first, and the message comes again.
    if (spec === null || this.peers.has(groupId) || this.removing.has(groupId)) return null;
    assert(
      spec.groupId === groupId && spec.bootstrap === undefined,
      'a message makes an uninitialized peer of its group',
    );
    if (spec.replicaId !== message.to) return null;
    return this.makeUninitialized(spec);
  }

  private makeUninitialized(spec: GroupSpec): Peer | null {
    try {
      const { peer, synced } = this.makePeer(spec);
      synced.catch((error: unknown) => this.host.fail(error));
      return peer;
    } catch (error) {
      if (!(error instanceof ReplicaDataLostError)) throw error;
      // The log knows the group, the engine does not: a crash took the unsynced record of a group just made. Whoever
      // made it makes it again, and then its log is replayed; an empty replica here would forget what the log promised.
      this.host.logger.warn({ err: error, groupId: spec.groupId }, 'message for a group whose record was lost');
      return null;
    }
  }

  private makePeer(spec: GroupSpec): { peer: Peer; synced: Promise<void> } {
    assert(!this.host.closed, 'a closed host takes no groups');
    const isNew = this.host.log.group(spec.groupId) === undefined;
    const { log, synced } = prepareLog(this.host.log, spec);
    const applied = spec.applied.index > 0 ? spec.applied : (spec.bootstrap ?? spec.applied);
    const peer = new Peer(this.parts, { ...spec, applied }, log, isNew);
    this.peers.set(spec.groupId, peer);
    if (spec.campaign === true) this.campaigns.first(peer);
    return { peer, synced };
  }

  /** A message made an empty peer before the split that makes the group was applied here. */
  private replaceUninitialized(running: Peer, spec: GroupSpec): void {
    const fits = spec.bootstrap !== undefined && !running.isInitialized && running.replicaId === spec.replicaId;
    assert(fits && !running.isInstalling, `group ${String(spec.groupId)} is already here`);
    this.peers.delete(spec.groupId);
    void running.stop();
  }

  /** Its log lost entries: nothing is stepped or told for the group any more; its mark in the log stays. */
  private quarantine(groupId: number): void {
    const peer = this.peers.get(groupId);
    if (peer === undefined) return;
    this.peers.delete(groupId);
    this.host.logger.error({ groupId }, 'the log of a group is damaged; its replica is stopped');
    if (peer.isLeader()) this.parts.outbox.leaderStopped(peer);
    void peer.stop();
    this.host.callbacks.dataLost?.(groupId, peer.replicaId);
  }

  private async dropLog(groupId: number, peer: Peer | undefined): Promise<void> {
    await peer?.stop();
    if (this.host.failed || this.host.closed) return;
    await this.host.log.write([{ kind: 'drop', groupId }]);
  }

  private async closeAll(): Promise<void> {
    this.ticker.stop();
    this.host.closed = true;
    this.forwarding.stop();
    await Promise.all([...this.peers.values()].map((peer) => peer.stop()));
    await Promise.all(this.removing.values());
    await this.host.transport.close();
    await Promise.all([this.parts.sender.close(), this.compactor.close(), this.parts.installer.close()]);
    try {
      await this.host.log.close();
    } catch (error) {
      // A log that failed was reported as fatal when it did; closing the rest must not depend on it.
      if (!this.host.failed) throw error;
    }
  }

  private makeContext(config: MultiRaftConfig): HostContext {
    const { hostId, runtime, logger, log, engine, transport, callbacks } = config;
    const options = completeOptions(config.options ?? {});
    const host: HostContext = {
      hostId,
      runtime,
      logger,
      options,
      log,
      engine,
      transport,
      callbacks,
      budget: new Budget(options.limits.hostProposals, options.limits.hostProposalBytes),
      counters: new Counters(),
      deferred: new Deferred(runtime),
      leaseClock: new HostLeaseClock(runtime, options),
      random: () => runtime.random(),
      tick: 0,
      syncAgeMs: 0,
      diskStalled: false,
      refusesEntries: false,
      failed: false,
      closed: false,
      quarantine: (groupId) => this.quarantine(groupId),
      wake: () => this.parts.turn.wake(),
      fail: (error) => {
        if (host.failed || host.closed) {
          logger.warn({ err: error }, 'a failure after the end');
          return;
        }
        host.failed = true;
        this.ticker.stop();
        callbacks.fatal(error instanceof Error ? error : new Error(String(error)));
      },
    };
    return host;
  }
}

/** Contexts of read rounds: from a random start on, so that two hosts (or two lives of one) never share one. */
function readContexts(runtime: Runtime): () => number {
  let next = Math.floor(runtime.random() * 2 ** 30) * 2 ** 22 + 2;
  return () => {
    next = next >= Number.MAX_SAFE_INTEGER ? 2 : next + 1;
    return next;
  };
}
