import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { HeldReplica, StoreReport, StoreSessionRequest } from '../src/gen/skerry/v1/placement.js';
import { ClusterView } from './cluster_view.js';
import type { StoreTimes } from './cluster_view.js';
import { DescriptorInbox } from './descriptor_inbox.js';
import { DrainWatch } from './drain_watch.js';
import { KeyspaceProgress } from './keyspace_progress.js';
import type { Hindrance } from './hindrance.js';
import type { LeaderTable } from './leader_table.js';
import { LooseCommands } from './loose_commands.js';
import { MemberRemovals } from './member_removals.js';
import type { MoveLimits } from './move_limits.js';
import { IdPool } from './operators/id_pool.js';
import type { Operator } from './operators/operator.js';
import type { Clocks } from './operators/operator_record.js';
import { fromRecord } from './operators/operator_record.js';
import { OperatorJournal } from './operators/operator_journal.js';
import { Planner } from './planner.js';
import type { Proposer } from './proposer.js';
import { RecoveryDriver } from './recovery/recovery_driver.js';
import { ReplicaSurveys } from './recovery/replica_surveys.js';
import type { ClusterState } from './state/cluster_state.js';
import type { StateChanges } from './state/state_changes.js';
import type { PlacementCommand } from './state/commands.js';
import type { OperatorRecord } from './state/operator_records.js';
import { epochIsNewer } from './state/records.js';
import type { ShardSizes } from './shard_sizes.js';
import { FindingRecorder } from './scrub/finding_recorder.js';
import type { ScheduleStatus } from './schedules.js';
import { Scrubber } from './scrub/scrubber.js';
import type { SessionSink, StoreSession } from './store_sessions.js';
import { StoreSessions } from './store_sessions.js';
import { WireFault } from './wire_fault.js';

export interface LeaderWorkSettings {
  readonly times: StoreTimes;
  readonly limits: MoveLimits;
  readonly sizes: ShardSizes;
  readonly patrolIntervalMs: number;
  readonly scheduleIntervalMs: number;
  /** Why schedulers may not work right now; null: they may. */
  readonly balanceHindrance: () => Hindrance | null;
  /** What is done by the clock; absent: nothing. */
  readonly schedules?: (wallMs: number) => readonly ScheduleStatus[];
  readonly scrub: {
    readonly bytesPerSecond: number;
    /** Whether a comparison of all shards should begin now. */
    readonly isDue: () => boolean;
  };
}

export interface LeaderWorkOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly settings: LeaderWorkSettings;
  readonly state: () => ClusterState;
  readonly leaders: LeaderTable;
  readonly proposer: Proposer;
  readonly routeChanged: (shardId: number) => void;
  /** The placement members, for the stores. */
  readonly memberList: () => MemberList;
  /** Something that requests wait for may have happened. */
  readonly poke: () => void;
}

/**
 * What only the leader does, for as long as it leads: hears the stores, plans, drives operators, and brings reported
 * descriptors into the log. Made anew with every term of leadership; nothing of it outlives one.
 */
export class LeaderWork {
  readonly view: ClusterView;
  readonly planner: Planner;
  readonly sessions: StoreSessions;
  readonly scrubber: Scrubber;
  readonly drains: DrainWatch;
  readonly surveys: ReplicaSurveys;
  readonly recovery: RecoveryDriver;
  readonly removals: MemberRemovals;
  private readonly options: LeaderWorkOptions;
  private readonly loose = new LooseCommands((storeId, command) => this.sessions.send(storeId, command));
  private readonly keyspaces: KeyspaceProgress;
  private readonly inbox: DescriptorInbox;
  private readonly ids: IdPool;
  private readonly journal: OperatorJournal;
  private readonly findings: FindingRecorder;
  private readonly timers: TimerHandle[] = [];
  private closed = false;

  constructor(options: LeaderWorkOptions) {
    const { runtime, settings, state, leaders, logger, proposer } = options;
    this.options = options;
    this.view = new ClusterView({ state, leaders, times: settings.times, sinceMs: runtime.nowMs() });
    this.drains = new DrainWatch(this.view);
    this.removals = new MemberRemovals(this.view, (command) => proposer.propose(command));
    this.sessions = new StoreSessions(runtime, state, options.memberList);
    this.ids = new IdPool((count) => this.refillIds(count));
    this.inbox = new DescriptorInbox(
      (command) => proposer.tryPropose(command),
      (error) => logger.debug({ err: error, waiting: this.inbox.size }, 'descriptors wait for the next try'),
    );
    this.journal = new OperatorJournal(
      (command) => proposer.tryPropose(command),
      () => this.clocks(),
      (error) => this.failed(error, 'records of operators wait for the next try'),
    );
    this.planner = new Planner({
      view: this.view,
      ids: this.ids,
      limits: settings.limits,
      logger,
      sizes: settings.sizes,
      balanceHindrance: () => settings.balanceHindrance() ?? (this.keyspaces.isMoving ? { kind: 'creating' } : null),
      send: (storeId, command) => this.sessions.send(storeId, command),
      progressed: (operator) => this.journal.note(operator),
      finished: (operator) => this.operatorFinished(operator),
    });
    this.findings = new FindingRecorder(
      (command) => proposer.tryPropose(command),
      (error) => this.failed(error, 'findings wait for the next try'),
    );
    // Above every command id, so that results are told apart, and unlike any that an earlier leader used.
    const newId = (): number => 2 ** 51 + Math.floor(runtime.random() * 2 ** 51);
    const toStore = this.sessions.send.bind(this.sessions);
    this.surveys = new ReplicaSurveys({ send: toStore, newId, answered: options.poke });
    this.recovery = new RecoveryDriver({ state, nowMs: () => this.view.nowMs, send: toStore, newId });
    this.scrubber = new Scrubber({
      view: this.view,
      logger,
      bytesPerSecond: settings.scrub.bytesPerSecond,
      send: toStore,
      newCheckId: newId,
      ended: options.poke,
      found: (shardId, verdict) => this.findings.note(shardId, verdict),
    });
    this.keyspaces = new KeyspaceProgress({
      view: this.view,
      send: (storeId, command) => this.loose.send(storeId, command),
      complete: (keyspaceId) => this.background({ kind: 'markKeyspaceReady', keyspaceId }),
    });
    this.takeUpOperators();
    this.timers.push(
      runtime.every(settings.patrolIntervalMs, () => this.tick()),
      runtime.every(settings.scheduleIntervalMs, () => this.schedule()),
    );
  }

  /** Whether an operator could be given its ids right now; asks for some if not. */
  hasIds(count: number): boolean {
    if (this.ids.available < count) this.ids.top();
    return this.ids.available >= count;
  }

  takeIds(count: number): number[] | null {
    return this.ids.take(count);
  }

  openSession(storeId: number, sink: SessionSink): StoreSession {
    this.options.logger.info({ storeId }, 'store session opened');
    return this.sessions.open(storeId, sink);
  }

  /** One frame of a store. */
  frame(session: StoreSession, frame: StoreSessionRequest): void {
    if (this.closed) return;
    const { storeId } = session;
    this.view.setTime(this.options.runtime.nowMs());
    if (frame.store !== undefined) {
      this.heartbeat(storeId, frame.store);
      // Someone may wait for stores to come up.
      this.options.poke();
    }
    for (const report of frame.shards) {
      const shardId = report.shard?.shardId ?? 0;
      const { leaderChanged, descriptorNewer } = this.view.shardReport(storeId, report);
      if (descriptorNewer && report.shard !== undefined) this.inbox.add(report.shard);
      if (leaderChanged) this.leaderChanged(shardId);
      this.planner.shardChanged(shardId);
    }
    for (const shardId of frame.noLongerLed) {
      if (this.view.noLongerLed(storeId, shardId)) this.leaderChanged(shardId);
    }
    const { logger } = this.options;
    for (const { commandId, error } of frame.results) {
      this.planner.controller.commandResult(commandId, error);
      this.scrubber.commandResult(commandId, error);
      this.recovery.commandResult(commandId, error);
      const what = error === undefined ? null : this.loose.describe(commandId);
      if (what !== null) logger.warn({ storeId, commandId, what, error: error?.message }, 'a store refused a command');
    }
    for (const checksum of frame.checksums) this.scrubber.checksumReported(storeId, checksum);
    for (const survey of frame.surveys) this.surveys.received(storeId, survey);
    if (frame.held.length > 0) this.inspectHeld(storeId, frame.held);
    this.inbox.flush();
    this.journal.flush();
  }

  private heartbeat(storeId: number, report: StoreReport): void {
    for (const shardId of this.view.storeHeartbeat(storeId, report)) this.planner.shardChanged(shardId);
    // One that is no member any more may not hear so from its group: it takes no messages.
    this.inspectHeld(storeId, report.quarantined);
  }

  /** The first frames of a session are through: the store may lack shards that are being created. */
  sessionReady(storeId: number, held: ReadonlySet<number>): void {
    this.keyspaces.storeReturned(storeId, held);
  }

  /** Null: a snapshot replaced the state, which does not happen to a leader. */
  stateChanged(changes: StateChanges): void {
    const state = this.view.state;
    this.view.setTime(this.options.runtime.nowMs());
    for (const storeId of changes.stores) {
      this.view.noticeStore(storeId);
      this.sessions.storeChanged(storeId);
      this.planner.storeChanged(storeId);
    }
    for (const shardId of changes.shards) {
      if (state.shard(shardId) === undefined) {
        this.planner.shardGone(shardId);
        // What it waits for may be just this.
        this.planner.controller.shardChanged(shardId);
        this.scrubber.shardGone(shardId);
        this.view.forgetShard(shardId);
      } else {
        this.planner.shardChanged(shardId);
      }
    }
    for (const shardId of changes.targets) this.planner.shardChanged(shardId);
    for (const keyspaceId of changes.keyspaces) {
      const keyspace = state.keyspace(keyspaceId);
      if (keyspace !== undefined) this.keyspaces.keyspaceChanged(keyspace);
    }
  }

  /** Both clocks now, for what is kept longer than this process lives. */
  clocks(): Clocks {
    const { runtime } = this.options;
    return { nowMs: runtime.nowMs(), wallMs: runtime.wallMs() };
  }

  close(leaderAddress: string): void {
    this.closed = true;
    for (const timer of this.timers) timer.cancel();
    this.journal.close();
    this.sessions.endAll(leaderAddress);
  }

  private tick(): void {
    this.view.setTime(this.options.runtime.nowMs());
    this.planner.tick();
    this.keyspaces.tick();
    if (this.options.settings.scrub.isDue()) this.scrubber.startRound();
    this.scrubber.tick();
    this.drains.tick();
    this.recovery.tick();
    this.inbox.flush();
    this.journal.flush();
    this.findings.flush();
    this.buryDrainedStores();
  }

  private schedule(): void {
    this.view.setTime(this.options.runtime.nowMs());
    this.planner.schedule();
  }

  private leaderChanged(shardId: number): void {
    if (this.view.leaderOf(shardId) !== undefined) this.keyspaces.leaderReported(shardId);
    this.options.routeChanged(shardId);
    this.options.poke();
  }

  /** A replica that its shard's newer configuration does not list was removed while its store was away. */
  private inspectHeld(storeId: number, held: readonly HeldReplica[]): void {
    for (const { shardId, replicaId, epoch } of held) {
      const shard = this.view.state.shard(shardId);
      if (shard === undefined || epoch === undefined || epochIsNewer(epoch, shard.epoch)) continue;
      if (shard.replicas.some((r) => r.replicaId === replicaId)) continue;
      this.options.logger.info({ storeId, shardId, replicaId }, 'store holds a replica that was removed');
      this.loose.send(storeId, { $case: 'destroyReplica', value: { shardId, replicaId, epoch: shard.epoch } });
    }
  }

  /** A store that was emptied and then stopped is not coming back. */
  private buryDrainedStores(): void {
    const { state } = this.view;
    for (const { storeId, state: stored } of state.stores()) {
      if (stored !== 'draining' || state.shardIdsOn(storeId).size > 0 || !this.view.isDown(storeId)) continue;
      this.background({ kind: 'setStoreState', storeId, state: 'tombstone' });
    }
  }

  /** What earlier leaders have recorded: the history, which lets shards rest, and operators that are not done. */
  private takeUpOperators(): void {
    const { operators } = this.view.state;
    const { table, controller } = this.planner;
    const clocks = this.clocks();
    const ended = operators.ended().flatMap((record) => fromRecord(record, clocks) ?? []);
    ended.sort((a, b) => a.finishedAtMs - b.finishedAtMs);
    for (const operator of ended) table.remember(operator, operator.finishedAtMs);
    const abandoned: OperatorRecord[] = [];
    // The newest first: an older one on the same shard has ended, and only its end was not recorded.
    for (const record of operators.running().reverse()) {
      const operator = fromRecord(record, clocks);
      if (operator !== null && controller.resume(operator)) continue;
      const { operatorId, shardId, kind } = record;
      this.options.logger.warn(
        { operatorId, shardId, kind },
        'an operator of an earlier leader can not be gone on with',
      );
      const reason = 'the placement leader changed, and the new one could not go on with it';
      abandoned.push({ ...record, state: 'replaced', endedAtWallMs: clocks.wallMs, reason });
    }
    if (abandoned.length > 0) this.background({ kind: 'recordOperators', operators: abandoned });
  }

  private operatorFinished(operator: Operator): void {
    const { kind, shardId } = operator.plan;
    const { operatorId, state, reason } = operator;
    this.options.logger.info({ operatorId, shardId, kind, state, reason }, 'operator finished');
    this.journal.note(operator);
    this.options.poke();
  }

  private refillIds(count: number): void {
    this.options.proposer.propose({ kind: 'allocateIds', count }).then(
      (first) => {
        this.ids.give(first, count);
        this.options.poke();
      },
      (error: unknown) => {
        this.ids.giveUp();
        this.failed(error, 'could not allocate ids');
      },
    );
  }

  /** Proposes something that a later tick proposes again if it gets lost. */
  private background(command: PlacementCommand): void {
    this.options.proposer.tryPropose(command).then(
      (outcome) => {
        if (!outcome.ok) this.options.logger.warn({ command: command.kind, error: outcome.error }, 'command refused');
      },
      (error: unknown) => this.failed(error, 'could not propose'),
    );
  }

  private failed(error: unknown, what: string): void {
    // Anything but a typed refusal is a broken invariant, which must end the process.
    if (!(error instanceof WireFault)) throw error;
    this.options.logger.debug({ err: error }, what);
  }
}
