import { must } from '../../src/base/assert.js';
import type { Logger } from '../../src/base/logger.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import type { ReplicaChecksum, StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import type { ClusterView } from '../cluster_view.js';
import { scrubReplyMs, scrubRequestsMax, scrubShardsInFlightMax, scrubSlowness, scrubStartMs } from '../limits.js';
import type { CheckedReplica, Verdict } from './verdict.js';
import { differenceLine, judge } from './verdict.js';

/**
 * Compares the replicas of shards: all of them on a schedule, single ones when asked.
 *
 *     waiting ─▶ VerifyShard to the leader ─▶ ChecksumCommand through the shard's log ─▶ a checksum from each replica
 *        ▲            │ refused                                                                │
 *        └────────────┘ (for a while)                             all came, or no more can ─▶ verdict
 *
 * Every replica computes its checksum as of the same log index, so writes go on meanwhile. A difference is only reported: which
 * copy is right is for people to say. What was found is in the placement state (state/scrub_findings.ts), for the next leader, too.
 */
export interface ScrubberOptions {
  readonly view: ClusterView;
  readonly logger: Logger;
  readonly bytesPerSecond: number;
  readonly send: (storeId: number, command: StoreCommand) => void;
  /** Unique for as long as reports may be late. */
  readonly newCheckId: () => number;
  /** A check that someone may wait for has ended. */
  readonly ended: () => void;
  /** The replicas of a shard were found to differ; null: to be equal again. For what outlives this leader. */
  readonly found?: (shardId: number, verdict: Verdict | null) => void;
}

/** A check that was asked for. */
export interface Check {
  readonly shardId: number;
  verdict: Verdict | null;
}

interface Member {
  readonly replicaId: number;
  readonly storeId: number;
  report: ReplicaChecksum | null;
}

interface RunningCheck {
  readonly check: Check;
  /** False: no leader has taken the command yet. */
  sent: boolean;
  checkId: number;
  members: readonly Member[];
  /** How long leaders are asked, and when a check that one of them took is given up. */
  readonly askUntilMs: number;
  untilMs: number;
  /** Why the leader did not take it. */
  refusal: string;
}

/** A comparison of all shards. */
interface Round {
  readonly shardIds: readonly number[];
  next: number;
  readonly counts: Record<Verdict['outcome'], number>;
}

export class Scrubber {
  private readonly options: ScrubberOptions;
  private readonly requests: Check[] = [];
  private readonly running = new Set<RunningCheck>();
  private readonly differing = new Map<number, Verdict>();
  private round: Round | null = null;
  private readonly finished: Record<Verdict['outcome'], number> = { consistent: 0, inconsistent: 0, unchecked: 0 };

  constructor(options: ScrubberOptions) {
    this.options = options;
    // What earlier leaders found.
    for (const verdict of options.view.state.findings.all()) this.differing.set(verdict.shardId, verdict);
  }

  /** Shards whose last comparison found a difference, by shard. */
  get inconsistent(): ReadonlyMap<number, Verdict> {
    return this.differing;
  }

  /** Comparisons ended, by outcome. */
  get counts(): Readonly<Record<Verdict['outcome'], number>> {
    return this.finished;
  }

  get checksRunning(): number {
    return this.running.size;
  }

  /** Asks for one shard; null: too many wait already. */
  request(shardId: number): Check | null {
    if (this.requests.length >= scrubRequestsMax) return null;
    const check = { shardId, verdict: null };
    this.requests.push(check);
    this.startWaiting();
    return check;
  }

  /** Begins with all shards, unless a round is under way. */
  startRound(): void {
    if (this.round !== null) return;
    const shardIds = [...this.options.view.state.shards()].map((shard) => shard.shardId).sort((a, b) => a - b);
    this.round = { shardIds, next: 0, counts: { consistent: 0, inconsistent: 0, unchecked: 0 } };
    this.options.logger.info({ shards: shardIds.length }, 'comparing the replicas of all shards');
    this.startWaiting();
  }

  /** A store's answer. */
  checksumReported(storeId: number, report: ReplicaChecksum): void {
    for (const running of this.running) {
      if (!running.sent || running.checkId !== report.checkId) continue;
      const member = running.members.find((m) => m.replicaId === report.replicaId && m.storeId === storeId);
      if (member !== undefined) member.report = report;
      this.finishIfComplete(running);
    }
    this.startWaiting();
  }

  /** The leader's store refused; it is asked again, or another one. */
  commandResult(commandId: number, error: TypedError | undefined): void {
    for (const running of this.running) {
      if (running.checkId !== commandId || error === undefined) continue;
      running.sent = false;
      running.refusal = `its leader refused: ${error.message}`;
    }
  }

  shardGone(shardId: number): void {
    this.differing.delete(shardId);
  }

  tick(): void {
    const { nowMs } = this.options.view;
    for (const running of this.running) {
      if (!running.sent && nowMs < running.askUntilMs) this.send(running);
      else if (nowMs >= (running.sent ? running.untilMs : running.askUntilMs)) this.finish(running);
      else this.finishIfComplete(running);
    }
    this.startWaiting();
  }

  private startWaiting(): void {
    while (this.running.size < scrubShardsInFlightMax) {
      const check = this.requests.shift() ?? this.nextOfRound();
      if (check === null) return;
      const askUntilMs = this.options.view.nowMs + scrubStartMs;
      const refusal = 'no leader of the shard can be reached';
      const running: RunningCheck = {
        check,
        sent: false,
        checkId: 0,
        members: [],
        askUntilMs,
        untilMs: askUntilMs,
        refusal,
      };
      this.running.add(running);
      this.send(running);
    }
  }

  private nextOfRound(): Check | null {
    const { round } = this;
    const shardId = round?.shardIds[round.next];
    if (round === null || shardId === undefined) return null;
    round.next++;
    return { shardId, verdict: null };
  }

  /** The replicas are those of the shard at this moment; one that comes later is checked another time. */
  private send(running: RunningCheck): void {
    const { view, send, newCheckId, bytesPerSecond } = this.options;
    const { shardId } = running.check;
    const replicas = view.state.shard(shardId)?.replicas ?? [];
    running.members = replicas.map(({ replicaId, storeId }) => ({ replicaId, storeId, report: null }));
    if (replicas.length < 2) {
      running.refusal = 'there is no other replica to compare it with';
      this.finish(running);
      return;
    }
    const leader = view.liveLeaderOf(shardId);
    if (leader === undefined) return;
    const checkId = newCheckId();
    const readingMs = ((view.status(shardId)?.approximateBytes ?? 0) * 1_000) / bytesPerSecond;
    Object.assign(running, { checkId, sent: true, untilMs: view.nowMs + scrubReplyMs + readingMs * scrubSlowness });
    const value = { shardId, checkId, bytesPerSecond };
    send(leader.leaderStoreId, { commandId: checkId, command: { $case: 'verifyShard', value } });
  }

  private finishIfComplete(running: RunningCheck): void {
    const waiting = running.members.some((m) => m.report === null && this.obstacle(running, m) === null);
    if (running.sent && !waiting) this.finish(running);
  }

  /** Why no report of a replica can be expected; null: one can. */
  private obstacle({ check }: RunningCheck, { replicaId, storeId }: Member): string | null {
    const { view } = this.options;
    if (!view.isConnected(storeId)) return 'its store cannot be reached';
    if (view.isQuarantined(replicaId)) return 'it lost data and waits to be replaced';
    return view.progressOf(check.shardId, replicaId)?.down === true ? 'its leader does not hear it' : null;
  }

  private finish(running: RunningCheck): void {
    const { check, members, sent, refusal } = running;
    this.running.delete(running);
    const now = new Set(this.options.view.state.shard(check.shardId)?.replicas.map((r) => r.replicaId));
    const late = sent ? 'its checksum did not come in time' : refusal;
    const replicas = members
      // One that was removed meanwhile owes nobody an answer.
      .filter((m) => m.report !== null || now.has(m.replicaId))
      .map((m): CheckedReplica => ({ ...m, reason: this.obstacle(running, m) ?? late }));
    check.verdict = judge(check.shardId, replicas);
    this.note(check.verdict);
    this.options.ended();
  }

  private note(verdict: Verdict): void {
    const { logger } = this.options;
    const { shardId, outcome, index, replicas } = verdict;
    this.finished[outcome]++;
    if (outcome === 'inconsistent') {
      this.differing.set(shardId, verdict);
      this.options.found?.(shardId, verdict);
      logger.error({ shardId, index, replicas }, `replicas differ: ${differenceLine(verdict)}`);
    } else if (outcome === 'consistent') {
      if (this.differing.delete(shardId)) {
        this.options.found?.(shardId, null);
        logger.info({ shardId, index }, 'the replicas of a shard are equal again');
      }
    } else if (replicas.length > 1) {
      logger.warn({ shardId, replicas }, 'not all replicas of a shard could be compared');
    }
    this.countInRound(verdict);
  }

  private countInRound({ outcome }: Verdict): void {
    if (this.round === null) return;
    // One that was asked for by hand meanwhile is counted with them; it was compared, too.
    this.round.counts[outcome]++;
    if (this.round.next < this.round.shardIds.length || this.running.size > 0) return;
    const { counts } = must(this.round, 'a round');
    this.round = null;
    this.options.logger.info(counts, 'the replicas of all shards were compared');
  }
}
