import { assert, must } from '../base/assert.js';
import type { RaftSettings, ReplicaStart } from './config.js';
import { isMember, normalConfState } from './conf_state.js';
import { RaftLog } from './log/raft_log.js';
import { MsgType, newMessage, none } from './message.js';
import type { ConfState, Message } from './message.js';
import type { ReadRounds } from './read_rounds.js';
import type { ReadState, Role, StepResult } from './ready.js';
import type { RaftStorage } from './storage.js';
import type { PeerTable } from './tracker/peer_table.js';
import type { Progress } from './tracker/progress.js';

/** What a candidate or pre-candidate knows. */
export interface Candidacy {
  readonly votes: Map<number, boolean>;
}

/** What only a leader knows; made when it is elected, dropped when it steps down. */
export interface Leadership {
  readonly peers: PeerTable;
  readonly reads: ReadRounds;
  /** Entries from here on are this leader's own. */
  readonly firstOwnIndex: number;
  /** An entry of the own term is committed: only now the commit index is known to be current (Raft §8). */
  ownTermCommitted: boolean;
  /** The replica that leadership is being handed to, or none. */
  transferee: number;
  /** A forced candidacy may be under way at any time from now on: no lease in this term any more. */
  timeoutNowSent: boolean;
  /** A membership change may be unapplied while applied is below this index. */
  pendingConfIndex: number;
  /** Payload bytes of own entries that were not yet handed out as committed. */
  uncommittedBytes: number;
  /** Entries were proposed that no append was made for yet; see SendPolicy. */
  appendsDue: boolean;
}

/** A read that this replica asked the leader for. */
export interface ForwardedRead {
  readonly context: number;
  /** Own tick in which it was asked. */
  readonly askedAt: number;
}

/** All state of one Raft peer. The functions around it are grouped by what they are about, see index.ts. */
export class Core {
  // First what every tick looks at: of a replica without work a tick then loads one cache line.
  leadership: Leadership | null = null;
  /** Own ticks since the start: the clock of leases and of forwarded reads. */
  ticks = 0;
  /** Ticks since the leader was heard, a vote was granted or the role changed; a leader's: since CheckQuorum. */
  electionElapsed = 0;
  electionTimeout = 0;
  /** Reads forwarded to the leader, oldest first; null: none. */
  forwardedReads: ForwardedRead[] | null = null;
  heartbeatElapsed = 0;

  readonly config: RaftSettings;
  readonly id: number;
  readonly storage: RaftStorage;
  readonly log: RaftLog;
  term: number;
  vote: number;
  role: Role = 'follower';
  leaderId = none;
  conf: ConfState;
  /**
   * While a snapshot is being stored: the configuration that the state machine is at. Entries from before the snapshot may
   * still be applied then; their membership changes are in the snapshot's configuration already.
   */
  supersededConf: ConfState | null = null;
  candidacy: Candidacy | null = null;
  electionPriority: number;
  /** When a leader, of whatever term, was heard last, in lease time: a lease-based leader relies on it. */
  leaderHeardAt: number;

  readStates: ReadState[] = [];
  /** Messages that may leave at once. */
  outbox: Message[] = [];
  /** Messages that may leave once everything unpersisted so far is durable. */
  deferred: Message[] = [];

  constructor(config: RaftSettings, start: ReplicaStart, storage: RaftStorage) {
    const { hardState, confState } = storage.initialState();
    this.config = config;
    this.id = start.id;
    this.storage = storage;
    this.conf = normalConfState(confState);
    this.log = new RaftLog(storage, config.maxCommittedSizePerReady);
    this.term = hardState?.term ?? 0;
    this.vote = hardState?.vote ?? none;
    // The state machine may be ahead of the last hard state that was written: what is applied was committed.
    this.log.startAt(Math.max(hardState?.commit ?? 0, start.applied), start.applied);
    // Whoever restarts may have promised a leader not to vote just before: keep that promise.
    this.leaderHeardAt = this.term > 0 ? 0 : -config.electionTick;
    // Answers to heartbeats do not wait for the term to be durable: a term of 0 proves nothing here.
    if (config.leaseClock !== undefined) this.leaderHeardAt = start.promisedAtMs ?? config.leaseClock.stampMs;
    this.electionPriority = start.electionPriority ?? 0;
    this.drawElectionTimeout();
  }

  /** A new random timeout for each role change, so that split votes do not repeat (Raft §5.2); later for low priorities. */
  drawElectionTimeout(): void {
    const { electionTick, random } = this.config;
    this.electionTimeout = electionTick * (1 + this.electionPriority) + Math.floor(random() * electionTick);
  }

  /** The present for leases: on their clock, or in own ticks. */
  leaseStamp(): number {
    return this.config.leaseClock?.stampMs ?? this.ticks;
  }

  isMember(id: number): boolean {
    return isMember(this.conf, id);
  }

  /** May become leader: a voter that is not about to have its log replaced. A learner never campaigns. */
  isPromotable(): boolean {
    return this.isMember(this.id) && !this.conf.learners.includes(this.id) && this.log.unstable.snapshot === null;
  }

  /** For code that runs on leaders only. */
  leading(): Leadership {
    return must(this.leadership, 'leadership');
  }

  /** A leader's own progress; null when it is no member any more. */
  progressOf(id: number): Progress | null {
    return this.leadership?.peers.find(id) ?? null;
  }

  /** A message of the current term. */
  message(type: MsgType, to: number): Message {
    const m = newMessage(type, this.id, to);
    m.term = this.term;
    return m;
  }

  send(m: Message): void {
    assert(m.to !== this.id, 'raft: only answers that wait for the disk go to oneself');
    assert(m.to !== none, 'raft: a message has a receiver');
    this.outbox.push(m);
  }

  /** Sends once everything unpersisted so far is durable; to itself too. */
  sendWhenDurable(m: Message): void {
    this.deferred.push(m);
  }

  /** Acknowledges, once that is durable, all entries up to index. */
  acknowledge(to: number, index: number, session: number): void {
    if (this.config.sendPolicy.coalesceAcks && index > 0) {
      const last = this.deferred[this.deferred.length - 1];
      // Both wait for the same sync, and the higher index says all that the lower one does.
      if (last !== undefined && isAck(last) && last.to === to && last.term === this.term && last.context === session) {
        last.index = Math.max(last.index, index);
        return;
      }
    }
    const m = this.message(MsgType.MsgAppResp, to);
    m.index = index;
    m.context = session;
    this.deferred.push(m);
  }
}

function isAck(m: Message): boolean {
  return m.type === MsgType.MsgAppResp && !m.reject && m.index > 0;
}

/** A handler of one message type in one role. */
export type Handler = (core: Core, m: Message) => StepResult;

export const stepOk: StepResult = Object.freeze({ ok: true });
export const stepDropped: StepResult = Object.freeze({ ok: false, reason: 'dropped' });
