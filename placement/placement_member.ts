import type { Disk } from '../src/base/disk.js';
import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { Engine } from '../src/engine/engine.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { Group, GroupStatus, MultiRaft } from '../src/multiraft/host.js';
import { createMultiRaft } from '../src/multiraft/multiraft.js';
import type { MultiRaftOptionsInput } from '../src/multiraft/options.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import type { ConfState } from '../src/raft/message.js';
import type { Transport } from '../src/transport/transport.js';
import { LeaderMirror } from './leader_mirror.js';
import { LeaderTable } from './leader_table.js';
import type { LeaderWorkSettings } from './leader_work.js';
import { LeaderWork } from './leader_work.js';
import { leadRetryMs } from './limits.js';
import type { MemberChange } from './member_changes.js';
import { MemberNotices } from './member_notices.js';
import { addressesOf, type MemberAddress, type MemberLines } from './member_lines.js';
import { Membership } from './membership.js';
import { PlacementStateMachine } from './placement_state_machine.js';
import { Proposer } from './proposer.js';
import { RemovalWatch } from './removal_watch.js';
import { RouteFeed } from './route_feed.js';
import type { ClusterState } from './state/cluster_state.js';
import type { StateChanges } from './state/state_changes.js';
import { Waiters } from './waiters.js';
import { WireFault } from './wire_fault.js';

/** The one group of a placement host. */
export const placementGroupId = 1;
/** Where the log of every first member begins. */
const bootstrapPosition = { index: 5, term: 5 };
const clusterIdBits = 52;
const emptyConfState: ConfState = Object.freeze({
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
});

export interface PlacementMemberOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly memberId: number;
  /** The first members, and for one that joined those that it was told of; what the group has recorded counts more. */
  readonly members: readonly MemberAddress[];
  /** What the members call their group among themselves. */
  readonly transportId: number;
  /** The cluster that this member joined, and did not begin; null: it is one of the first members. */
  readonly joined: { readonly clusterId: number } | null;
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
  /** This member was removed from the group for good: end the process. */
  readonly removed: () => void;
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
  private membership: Membership | null = null;
  private removalWatch: RemovalWatch | null = null;
  private notices: MemberNotices | null = null;
  private readonly peers = new Map<number, string>();
  private retry: TimerHandle | null = null;
  private closed = false;
  private ownAddress = '';
  /** Members that are not recorded yet, or, in one that joins, all of them until its first snapshot. */
  private firstMembers: readonly MemberAddress[];
  private firstMembersVersion = 0;
  /** A newer list of the members than the state has, from one of them; null: none was heard of. */
  private newerList: MemberList | null = null;

  private constructor(options: PlacementMemberOptions, host: MultiRaft, group: Group, machine: PlacementStateMachine) {
    const { runtime, logger, lines } = options;
    this.options = options;
    this.firstMembers = options.members;
    this.host = host;
    this.group = group;
    this.machine = machine;
    this.feed = new RouteFeed(
      runtime,
      () => machine.state,
      this.leaders,
      () => this.memberList(),
    );
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
    // One that joins has nothing until its first snapshot: to begin by itself would be to vote for a group of its own.
    if (machine.applied === null && options.joined === null) {
      const { index, term } = bootstrapPosition;
      machine.begin(index, term, { ...emptyConfState, voters });
    }
    const applied = machine.applied ?? { index: 0, term: 0, confState: emptyConfState };
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
        // Nobody here sends such a notice: see RemovalWatch.
        gone: () => undefined,
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
      ...(options.joined === null ? { bootstrap: bootstrapPosition } : {}),
      campaign: applied.confState.voters.length === 1 && applied.confState.voters[0] === memberId,
    });
    const member = new PlacementMember(options, host, group, machine);
    member.followMembers();
    return member;
  }

  async start(): Promise<void> {
    await this.host.start();
    const { runtime, logger, lines, memberId, joined, transport, removed } = this.options;
    this.removalWatch = new RemovalWatch({
      runtime,
      lines,
      ownId: memberId,
      clusterId: () => (this.state.clusterId === 0 ? (joined?.clusterId ?? 0) : this.state.clusterId),
      members: () => this.others(),
      isDoubtful: () => this.leaderId() === 0 || !this.isInGroup(),
      told: (list) => this.told(list),
      removed,
    });
    this.notices = new MemberNotices({
      runtime,
      logger,
      lines,
      ownId: memberId,
      clusterId: () => this.state.clusterId,
      list: () => this.memberList(),
      isConnected: (id) => transport.isConnected(id),
    });
    this.roleChanged();
  }

  /**
   * The members as another tells them: those are the members until this one has a state of its own, which says it for good. One whose
   * state is older than the list talks to the new ones as well, until they have brought its state up to date.
   */
  told(list: MemberList): void {
    if (this.machine.applied !== null) {
      const known = this.newerList?.version ?? this.state.metaRecord.membersVersion;
      if (list.version <= known) return;
      this.newerList = list;
    } else {
      if (list.version <= this.firstMembersVersion) return;
      this.firstMembersVersion = list.version;
      this.firstMembers = addressesOf(list);
    }
    this.followMembers();
  }

  private isInGroup(): boolean {
    const { voters, learners } = this.group.status().confState;
    const { memberId } = this.options;
    return voters.includes(memberId) || learners.includes(memberId);
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
    const { members, metaRecord } = this.state;
    const recorded = members.all().map((m) => ({ id: m.memberId, address: m.address }));
    // The first members are recorded one after the other.
    const others = this.firstMembers.filter((m) => m.id >= metaRecord.nextMemberId);
    return this.withOwnAddress([...recorded, ...others]);
  }

  /** The members as others are told of them. */
  memberList(): MemberList {
    const { membersVersion, nextMemberId } = this.state.metaRecord;
    return {
      members: this.members().map(({ id, address }) => ({ memberId: id, address })),
      version: membersVersion,
      nextMemberId,
      transportId: this.options.transportId,
    };
  }

  /** The group's Raft status. */
  groupStatus(): GroupStatus {
    return this.group.status();
  }

  /** What the leader is about to change in the group, or waits for; null: nothing, or this member does not lead. */
  get memberChange(): MemberChange | null {
    return this.membership?.change ?? null;
  }

  private withOwnAddress(members: readonly MemberAddress[]): readonly MemberAddress[] {
    const { memberId } = this.options;
    return members.map((m) =>
      m.id === memberId && this.ownAddress !== '' ? { id: m.id, address: this.ownAddress } : m,
    );
  }

  /** Whom this member talks to: its state's members, and those that it has heard of since. */
  private others(): readonly MemberAddress[] {
    const { membersVersion } = this.state.metaRecord;
    if (this.newerList !== null && this.newerList.version <= membersVersion) this.newerList = null;
    const newer = this.newerList === null ? [] : addressesOf(this.newerList);
    const unheard = this.members().filter(({ id }) => !newer.some((m) => m.id === id));
    return [...unheard, ...newer].filter(({ id }) => id !== this.options.memberId);
  }

  /** Members were recorded, moved or forgotten: transport and lines follow. */
  private followMembers(): void {
    const { transport, lines } = this.options;
    const wanted = new Map(this.others().map((m) => [m.id, m.address]));
    for (const [id, address] of wanted) {
      if (this.peers.get(id) === address) continue;
      this.peers.set(id, address);
      transport.setPeer(id, address);
      lines.setMember(id, address);
    }
    for (const id of [...this.peers.keys()]) {
      if (wanted.has(id)) continue;
      this.peers.delete(id);
      transport.removePeer(id);
      lines.removeMember(id);
    }
    this.feed.membersChanged();
    this.work?.sessions.membersChanged();
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
    this.removalWatch?.close();
    this.notices?.close();
    this.mirror.follow(0);
    this.stopLeading();
    this.feed.endAll();
    this.waiters.close();
    await this.host.close();
  }

  private stateChanged(changes: StateChanges | null): void {
    if (changes === null) {
      // A snapshot replaced everything: watchers begin anew.
      this.followMembers();
      this.feed.endAll();
      this.waiters.poke();
      return;
    }
    for (const storeId of changes.stores) this.feed.storeChanged(storeId);
    for (const shardId of changes.shards) this.feed.routeChanged(shardId);
    for (const keyspaceId of changes.keyspaces) this.showNewShards(keyspaceId);
    if (changes.members.size > 0) this.followMembers();
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
      memberList: () => this.memberList(),
    });
    this.membership = this.careForMembers();
    this.waiters.poke();
    // Counted before any request can begin a keyspace of this leader's own.
    const unfinished = [...this.state.keyspaces()].filter((k) => k.phase === 'planning').map((k) => k.keyspaceId);
    this.tidyUpUntilDone(this.work, unfinished);
  }

  private careForMembers(): Membership {
    const { runtime, logger, members, memberId, transport } = this.options;
    return new Membership({
      isConnected: (id) => transport.isConnected(id),
      runtime,
      logger,
      group: this.group,
      proposer: this.proposer,
      state: () => this.state,
      configured: () => this.withOwnAddress(members),
      ownId: memberId,
      poke: () => this.waiters.poke(),
    });
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
    if (this.work === work) this.membership?.look();
    for (const keyspaceId of unfinished) {
      if (this.work !== work || this.state.keyspace(keyspaceId)?.phase !== 'planning') continue;
      await this.proposer.propose({ kind: 'abandonKeyspace', keyspaceId });
    }
  }

  private stopLeading(): void {
    const work = this.work;
    if (work === null) return;
    this.work = null;
    this.membership?.close();
    this.membership = null;
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
