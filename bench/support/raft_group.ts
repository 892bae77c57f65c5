import { assert, must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { batchingSendPolicy, type RaftConfig } from '../../src/raft/config.js';
import { emptyConfState } from '../../src/raft/conf_state.js';
import { appendThread, applyThread, type Message } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { MemoryRaftLog } from './memory_raft_log.js';

/** The tick settings of a store (src/multiraft/options.ts). */
export const electionTicks = 10;
export const heartbeatTicks = 2;

const confState = { ...emptyConfState, voters: [1, 2, 3] };

/** The settings that a host gives its groups (src/multiraft/core_config.ts). */
function config(id: number, seed: number): RaftConfig {
  const prng = new Prng(seed * 3 + id);
  return {
    id,
    electionTick: electionTicks,
    heartbeatTick: heartbeatTicks,
    maxSizePerMsg: 1024 * 1024,
    maxCommittedSizePerReady: 4 * 1024 * 1024,
    maxInflightMsgs: 256,
    maxInflightBytes: 32 * 1024 * 1024,
    maxUncommittedEntriesSize: 128 * 1024 * 1024,
    applied: 0,
    preVote: true,
    checkQuorum: true,
    asyncStorageWrites: true,
    stepDownOnRemoval: true,
    disableConfChangeValidation: false,
    disableProposalForwarding: true,
    readOnlyOption: 'safe',
    random: () => prng.random(),
    logger: null,
    sendPolicy: batchingSendPolicy,
  };
}

/** One replica with its log; storage work is done the moment it is handed out. */
class Replica {
  readonly node: RawNode;
  inbox: Message[] = [];
  /** Index of the last entry that the state machine has seen. */
  appliedIndex = 0;
  private readonly id: number;
  private readonly log = new MemoryRaftLog(confState);
  private readonly send: (m: Message) => void;

  constructor(id: number, seed: number, send: (m: Message) => void) {
    this.id = id;
    this.node = new RawNode(config(id, seed), this.log);
    this.send = send;
  }

  /** Steps what came in and handles Readys until there is none. */
  work(): void {
    const { node, inbox } = this;
    if (inbox.length > 0) {
      this.inbox = [];
      for (const m of inbox) node.step(m);
    }
    while (node.hasReady()) {
      for (const m of node.ready().messages) {
        if (m.to === appendThread) this.append(m);
        else if (m.to === applyThread) this.apply(m);
        else this.send(m);
      }
    }
  }

  private append(m: Message): void {
    this.log.append(m.entries);
    this.respond(m);
  }

  private apply(m: Message): void {
    for (const entry of m.entries) {
      assert(entry.index === this.appliedIndex + 1, 'entries are applied in order');
      this.appliedIndex = entry.index;
    }
    this.respond(m);
  }

  private respond(m: Message): void {
    for (const response of m.responses) {
      if (response.to === this.id) this.node.step(response);
      else this.send(response);
    }
  }
}

/** A group of three replicas in one process, led by the first; nothing in it waits. */
export class RaftGroup {
  readonly nodes: readonly RawNode[];
  private readonly replicas: readonly Replica[];
  private readonly leader: Replica;
  private moving = 0;

  constructor(seed: number) {
    const send = (m: Message): void => {
      this.moving++;
      must(this.replicas[m.to - 1], 'receiver').inbox.push(m);
    };
    this.replicas = [1, 2, 3].map((id) => new Replica(id, seed, send));
    this.nodes = this.replicas.map((replica) => replica.node);
    this.leader = must(this.replicas[0], 'leader');
    this.leader.node.campaign();
    this.settle();
    assert(this.leader.node.role === 'leader', 'the first replica leads');
  }

  /** Proposes and settles: every replica has the entries then, and the leader has applied them. */
  round(payloads: readonly Buffer[], count: number): void {
    for (let i = 0; i < count; i++) {
      const taken = this.leader.node.propose(must(payloads[i], 'payload'));
      assert(taken.ok, 'the leader takes proposals');
    }
    this.settle();
    assert(this.leader.appliedIndex === this.leader.node.lastIndex, 'the leader has applied what was proposed');
  }

  /** A heartbeat tells the followers of the last commit: everything is applied everywhere then. Entries in the log. */
  finish(): number {
    for (let i = 0; i < heartbeatTicks; i++) this.leader.node.tick();
    this.settle();
    for (const replica of this.replicas) {
      assert(replica.appliedIndex === this.leader.node.lastIndex, 'every replica has applied every entry');
    }
    return this.leader.node.lastIndex;
  }

  /** Works until no message is on its way. */
  settle(): void {
    do {
      this.moving = 0;
      for (const replica of this.replicas) replica.work();
    } while (this.moving > 0);
  }
}
