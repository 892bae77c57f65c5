import { must } from '../src/base/assert.js';
import type { Disk } from '../src/base/disk.js';
import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { Engine } from '../src/engine/engine.js';
import type { Group, MultiRaft } from '../src/multiraft/host.js';
import { createMultiRaft } from '../src/multiraft/multiraft.js';
import type { MultiRaftOptionsInput } from '../src/multiraft/options.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import type { Transport } from '../src/transport/transport.js';
import { LeaderMirror } from './leader_mirror.js';
import { LeaderTable } from './leader_table.js';
import type { LeaderWorkSettings } from './leader_work.js';
import { LeaderWork } from './leader_work.js';
import { leadRetryMs } from './limits.js';
import type { MemberAddress, MemberLines } from './member_lines.js';
import { PlacementStateMachine } from './placement_state_machine.js';
import { Proposer } from './proposer.js';
import { RouteFeed } from './route_feed.js';
import type { ClusterState, StateChanges } from './state/cluster_state.js';
import { Waiters } from './waiters.js';
import { WireFault } from './wire_fault.js';

/** The one group of a placement host. */
export const placementGroupId = 1;
/** Where the log of every first member begins. */
const bootstrapPosition = { index: 5, term: 5 };
const clusterIdBits = 52;

export interface PlacementMemberOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly memberId: number;
  readonly members: readonly MemberAddress[];
  readonly settings: LeaderWorkSettings;
  readonly lines: MemberLines;
  readonly log: RaftLog;
  readonly engine: Engine;
  readonly transport: Transport;
  readonly disk: Disk;
  readonly stagingDirectory: string;
  readonly raft?: MultiRaftOptionsInput;
  /** Disk or engine failed, or an invariant is broken: the process must end. */
  readonly fatal: (error: Error) => void;
}

/**
 * One member of the placement group, without its gRPC server: replica of the state, source of routes, and, while it
 * leads, the leader's work.
 */
export class PlacementMember {
  readonly leaders = new LeaderTable();
  readonly feed: RouteFeed;
  readonly waiters: Waiters;
  readonly proposer: Proposer;
  readonly options: PlacementMemberOptions;
  private readonly host: MultiRaft;
  private readonly group: Group;
  private readonly machine: PlacementStateMachine;
  private readonly mirror: LeaderMirror;
  private work: LeaderWork | null = null;
  private retry: TimerHandle | null = null;
  private closed = false;
  private ownAddress = '';

  private constructor(options: PlacementMemberOptions, host: MultiRaft, group: Group, machine: PlacementStateMachine) {
    const { runtime, logger, lines } = options;
    this.options = options;
    this.host = host;
    this.group = group;
    this.machine = machine;
    this.feed = new RouteFeed(runtime, () => machine.state, this.leaders);
    this.waiters = new Waiters(runtime);
    this.proposer = new Proposer(group, () => this.leaderAddress());
    this.mirror = new LeaderMirror({
      runtime,
      logger,
      lines,
      leaders: this.leaders,
      clusterId: () => machine.state.clusterId,
      routeChanged: (shardId) => this.routeChanged(shardId),
    });
    machine.onChange((changes) => this.stateChanged(changes));
    machine.onLeader(() => runtime.nextTurn(() => this.roleChanged()));
  }

  /** Loads the state and makes the group's peer; start() lets it talk. */
  static async open(options: PlacementMemberOptions): Promise<PlacementMember> {
    const { memberId, members, engine, log, transport, runtime, logger, disk, stagingDirectory } = options;
    const machine = await PlacementStateMachine.load(engine);
    const voters = members.map((m) => m.id).sort((a, b) => a - b);
    const first = { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    if (machine.applied === null) machine.begin(bootstrapPosition.index, bootstrapPosition.term, first);
    const applied = must(machine.applied, 'an applied position');
    for (const member of members) if (member.id !== memberId) transport.setPeer(member.id, member.address);
    const host = createMultiRaft({
      hostId: memberId,
      runtime,
      logger,
      log,
      engine,
      transport,
      disk,
      stagingDirectory,
      ...(options.raft === undefined ? {} : { options: options.raft }),
      callbacks: {
        unknownGroup: () => null,
        gone: () => options.fatal(new Error(`placement member ${memberId} was removed from the placement group`)),
        forwarded: () => Promise.reject(new Error('placement members forward over gRPC')),
        fatal: options.fatal,
      },
    });
    const group = await host.addGroup({
      groupId: placementGroupId,
      replicaId: memberId,
      stateMachine: machine,
      applied: { index: applied.index, term: applied.term },
      confState: applied.confState,
      bootstrap: bootstrapPosition,
      campaign: members.length === 1,
    });
    return new PlacementMember(options, host, group, machine);
  }

  async start(): Promise<void> {
    await this.host.start();
    this.roleChanged();
  }

  get state(): ClusterState {
    return this.machine.state;
  }

  /** The leader's work, once this member leads and has applied everything before its term; null otherwise. */
  get leading(): LeaderWork | null {
    return this.work;
  }

  get term(): number {
    return this.group.term();
  }

  get appliedIndex(): number {
    return this.machine.applied?.index ?? 0;
  }

  /** The host of the group; for metrics and checks. */
  get multi(): MultiRaft {
    return this.host;
  }

  /** 0: none known. */
  leaderId(): number {
    return this.group.leaderId();
  }

  /** Empty: no leader is known. */
  leaderAddress(): string {
    const leaderId = this.leaderId();
    return this.members().find((m) => m.id === leaderId)?.address ?? '';
  }

  members(): readonly MemberAddress[] {
    const { memberId, members } = this.options;
    return members.map((m) =>
      m.id === memberId && this.ownAddress !== '' ? { id: m.id, address: this.ownAddress } : m,
    );
  }

  /** Where this member really listens, when the configuration left the port open. */
  setOwnAddress(address: string): void {
    this.ownAddress = address;
  }

  /** Brings this member's state up to date with everything acknowledged before. False: no leader confirmed it in time. */
  async catchUp(timeoutMs: number): Promise<boolean> {
    const answers: boolean[] = [];
    this.group.readIndex((failure) => {
      answers.push(failure === null);
      this.waiters.poke();
    });
    await this.waiters.wait(() => answers.length > 0, timeoutMs);
    return answers[0] === true;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.retry?.cancel();
    this.mirror.follow(0);
    this.stopLeading();
    this.feed.endAll();
    this.waiters.close();
    await this.host.close();
  }

  private stateChanged(changes: StateChanges | null): void {
    if (changes === null) {
      // A snapshot replaced everything: watchers begin anew.
      this.feed.endAll();
      this.waiters.poke();
      return;
    }
    for (const storeId of changes.stores) this.feed.storeChanged(storeId);
    for (const shardId of changes.shards) this.feed.routeChanged(shardId);
    for (const keyspaceId of changes.keyspaces) this.showNewShards(keyspaceId);
    this.work?.stateChanged(changes);
    this.waiters.poke();
  }

  /** Shards are hidden from watchers while their keyspace is being planned. */
  private showNewShards(keyspaceId: number): void {
    if (this.state.keyspace(keyspaceId)?.phase !== 'creating') return;
    for (const shard of this.state.shardsIn(keyspaceId, none, none)) this.feed.routeChanged(shard.shardId);
  }

  private routeChanged(shardId: number): void {
    this.feed.routeChanged(shardId);
    this.waiters.poke();
  }

  private roleChanged(): void {
    if (this.closed) return;
    this.waiters.poke();
    if (this.group.isLeader()) {
      this.mirror.follow(0);
      if (this.work === null) this.prepareToLead(this.group.term());
      return;
    }
    this.stopLeading();
    this.mirror.follow(this.leaderId());
  }

  /** A new leader may not have applied all of its predecessors' entries yet; a read point of its own term says when. */
  private prepareToLead(term: number): void {
    const stillLeads = (): boolean => !this.closed && this.group.isLeader() && this.group.term() === term;
    this.retry?.cancel();
    this.group.readIndex((failure) => {
      if (!stillLeads() || this.work !== null) return;
      if (failure === null) {
        this.lead();
        return;
      }
      this.retry = this.options.runtime.after(leadRetryMs, () => stillLeads() && this.prepareToLead(term));
    });
  }

  private lead(): void {
    const { runtime, logger, settings } = this.options;
    logger.info({ term: this.group.term() }, 'leading the placement group');
    this.work = new LeaderWork({
      runtime,
      logger,
      settings,
      state: () => this.state,
      leaders: this.leaders,
      proposer: this.proposer,
      routeChanged: (shardId) => this.routeChanged(shardId),
      poke: () => this.waiters.poke(),
    });
    this.waiters.poke();
    // Counted before any request can begin a keyspace of this leader's own.
    const unfinished = [...this.state.keyspaces()].filter((k) => k.phase === 'planning').map((k) => k.keyspaceId);
    this.tidyUpUntilDone(this.work, unfinished);
  }

  private tidyUpUntilDone(work: LeaderWork, unfinished: readonly number[]): void {
    this.tidyUp(work, unfinished).catch((error: unknown) => {
      if (!(error instanceof WireFault)) {
        this.options.fatal(toError(error));
        return;
      }
      // Leadership was lost in between, or the group is busy: whoever leads next tidies up.
      this.options.logger.warn({ err: error }, 'could not tidy up as a new leader');
      this.retry = this.options.runtime.after(leadRetryMs, () => {
        if (this.work === work) this.tidyUpUntilDone(work, unfinished);
      });
    });
  }

  /** What a new leader finds half done: a cluster without a name, keyspaces that their planner did not finish. */
  private async tidyUp(work: LeaderWork, unfinished: readonly number[]): Promise<void> {
    if (this.state.clusterId === 0) {
      const clusterId = 1 + Math.floor(this.options.runtime.random() * (2 ** clusterIdBits - 1));
      await this.proposer.propose({ kind: 'bootstrap', clusterId });
      this.options.logger.info({ clusterId: this.state.clusterId }, 'cluster bootstrapped');
    }
    for (const keyspaceId of unfinished) {
      if (this.work !== work || this.state.keyspace(keyspaceId)?.phase !== 'planning') continue;
      await this.proposer.propose({ kind: 'abandonKeyspace', keyspaceId });
    }
  }

  private stopLeading(): void {
    const work = this.work;
    if (work === null) return;
    this.work = null;
    this.options.logger.info({ term: this.group.term() }, 'no longer leading the placement group');
    work.close(this.leaderAddress());
    this.feed.endMirrors();
    this.waiters.poke();
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

const none = Buffer.alloc(0);
