import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { TypedError } from '../src/base/wire_errors.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { Store } from '../src/gen/skerry/v1/meta.js';
import type {
  CommandResult,
  ReplicaChecksum,
  ReplicaSurvey,
  StoreCommand,
  StoreReport,
  StoreSessionRequest,
  StoreSessionResponse,
} from '../src/gen/skerry/v1/placement.js';
import { StoreSessionRequest as StoreSessionRequestMessage } from '../src/gen/skerry/v1/placement.js';
import type { CommandExecutor } from './command_executor.js';
import { catchingUpLookMs, checksumReportsMax, reportDelayMs, sessionFrameShardsMax } from './limits.js';
import type { PlacementConnector, SessionLine } from './placement_connector.js';
import type { PlacementMembers } from './placement_members.js';
import type { ShardReports } from './shard_reports.js';

/**
 * A store's line to the placement leader.
 *
 *   closed ──connect──▶ open ──leader_address──▶ closed, the named member is next
 *     ▲                  │ ───broken, refused──▶ closed, the next member after a pause
 *     └──────────────────┘
 *
 * Up: a report of the store every interval, and changes of shards shortly after they happen (gathered for
 * a moment). The first frames of a session hold everything. Down: commands, which are carried out as they come, and store addresses.
 * What is lost with a line is sent again on the next one, because a session begins from nothing.
 */
export interface PlacementSessionOptions {
  readonly clusterId: number;
  readonly storeId: number;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly members: PlacementMembers;
  readonly connector: PlacementConnector;
  readonly reports: ShardReports;
  readonly executor: Pick<CommandExecutor, 'execute'>;
  readonly reportIntervalMs: number;
  readonly storeReport: () => StoreReport;
  /** Addresses of other stores. */
  readonly storesChanged: (stores: readonly Store[]) => void;
  /** The store itself is broken, or does not belong to the cluster. */
  readonly fatal: (error: Error) => void;
}

export class PlacementSession {
  private readonly options: PlacementSessionOptions;
  private line: SessionLine | null = null;
  private results: CommandResult[] = [];
  private checksums: ReplicaChecksum[] = [];
  private surveys: ReplicaSurvey[] = [];
  private timers: TimerHandle[] = [];
  private flushTimer: TimerHandle | null = null;
  private retryTimer: TimerHandle | null = null;
  private stopped = false;

  constructor(options: PlacementSessionOptions) {
    this.options = options;
  }

  get connected(): boolean {
    return this.line !== null;
  }

  start(): void {
    const { runtime, reports, reportIntervalMs } = this.options;
    this.timers = [
      runtime.every(reportIntervalMs, () => {
        reports.lookAtProgress();
        this.send({ store: this.options.storeReport() });
        this.scheduleFlush();
      }),
      runtime.every(catchingUpLookMs, () => {
        reports.lookAtCatchingUp();
        this.scheduleFlush();
      }),
    ];
    this.connect();
  }

  /** Something about a shard changed. */
  shardChanged(shardId: number): void {
    this.options.reports.changed(shardId);
    this.scheduleFlush();
  }

  /** A checksum that placement asked for, possibly over an earlier line. */
  checksumTaken(report: ReplicaChecksum): void {
    if (this.checksums.length >= checksumReportsMax) {
      const dropped = this.checksums.shift();
      this.options.logger.warn({ shardId: dropped?.shardId }, 'a checksum is dropped: placement cannot be reached');
    }
    this.checksums.push(report);
    this.scheduleFlush();
  }

  /** A part of an answer that a person waits for: lost with the line, since they ask again. */
  replicasSurveyed(survey: ReplicaSurvey): void {
    if (this.line === null) return;
    this.surveys.push(survey);
    this.scheduleFlush();
  }

  stop(): void {
    this.stopped = true;
    for (const timer of this.timers) timer.cancel();
    this.flushTimer?.cancel();
    this.retryTimer?.cancel();
    this.line?.close();
    this.line = null;
  }

  private connect(): void {
    const { members, connector, logger, reports } = this.options;
    const address = members.current();
    let redirect = '';
    const line = connector.openSession(address, {
      frame: (response) => {
        if (this.line !== line) return;
        redirect = response.leaderAddress;
        this.receive(address, response);
      },
      closed: (reason) => {
        if (this.line !== line) return;
        this.line = null;
        const delayMs = members.failed();
        if (redirect !== '' && redirect !== address) members.redirect(redirect);
        logger.debug({ address, reason, redirect }, 'the placement session ended');
        this.retryLater(delayMs);
      },
    });
    this.line = line;
    reports.reset();
    this.surveys = [];
    this.send({ store: this.options.storeReport(), held: reports.held() });
    this.flush();
  }

  private retryLater(delayMs: number): void {
    if (this.stopped) return;
    this.retryTimer = this.options.runtime.after(delayMs, () => this.connect());
  }

  private receive(address: string, response: StoreSessionResponse): void {
    const { members, storesChanged } = this.options;
    if (response.error !== undefined) {
      this.refused(address, response.error);
      return;
    }
    if (response.leaderAddress !== '') {
      this.line?.close();
      return;
    }
    members.succeeded();
    if (response.memberList !== undefined) this.learnMembers(response.memberList);
    if (response.stores.length > 0) storesChanged(response.stores);
    for (const command of response.commands) this.run(command);
  }

  /** Placement hears at once what this store knows: people may wait for it to remove a member. */
  private learnMembers(list: MemberList): void {
    const { members } = this.options;
    const before = members.version;
    members.learn(list);
    if (members.version !== before) this.send({ store: this.options.storeReport() });
  }

  private refused(address: string, error: TypedError): void {
    const { logger, fatal } = this.options;
    if (error.detail?.$case === 'clusterMismatch') {
      fatal(new Error(`the placement service at ${address} belongs to another cluster: ${error.message}`));
      return;
    }
    logger.warn({ address, error: error.message }, 'the placement service refused a frame');
    this.line?.close();
  }

  private run(command: StoreCommand): void {
    const { executor, logger, fatal } = this.options;
    const { commandId } = command;
    logger.debug({ commandId, kind: command.command?.$case }, 'command from placement');
    executor.execute(command).then(
      (error) => {
        if (error === null) return;
        logger.info({ commandId, kind: command.command?.$case, error: error.message }, 'a command of placement failed');
        this.results.push({ commandId, error });
        this.scheduleFlush();
      },
      (error: unknown) => fatal(error instanceof Error ? error : new Error(String(error))),
    );
  }

  private scheduleFlush(): void {
    if (this.flushTimer !== null || this.line === null) return;
    const idle = this.results.length === 0 && this.checksums.length === 0 && this.surveys.length === 0;
    if (idle && !this.options.reports.pending) return;
    this.flushTimer = this.options.runtime.after(reportDelayMs, () => {
      this.flushTimer = null;
      this.flush();
    });
  }

  private flush(): void {
    if (this.line === null) return;
    const { results, checksums } = this;
    this.results = [];
    this.checksums = [];
    const { shards, noLongerLed } = this.options.reports.take(sessionFrameShardsMax);
    const count = shards.length + noLongerLed.length + results.length + checksums.length;
    if (count > 0) this.send({ shards, noLongerLed, results, checksums });
    for (const survey of this.surveys.splice(0)) this.send({ surveys: [survey] });
    if (this.options.reports.pending) this.scheduleFlush();
  }

  private send(part: Partial<StoreSessionRequest>): void {
    const { clusterId, storeId } = this.options;
    this.line?.send({ ...StoreSessionRequestMessage.create(), ...part, clusterId, storeId });
  }
}
