import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { decodeConfChange } from '../../src/raft/conf_change_codec.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfChange } from '../../src/raft/conf_change.js';
import { emptyConfState } from '../../src/raft/conf_state.js';
import { eagerSendPolicy } from '../../src/raft/config.js';
import type { RaftConfig } from '../../src/raft/config.js';
import { appendThread, applyThread, emptyBuffer, EntryType, newMessage } from '../../src/raft/message.js';
import type { ConfState, Entry, Message, MsgType, SnapshotMeta } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import type { ReadState } from '../../src/raft/ready.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* A few peers, a network that only moves when told to, and disks that only sync when told to. */

export const electionTick = 10;
export const heartbeatTick = 2;

export function testConfig(id: number, overrides: Partial<RaftConfig> = {}): RaftConfig {
  const prng = new Prng(id);
  return {
    id,
    electionTick,
    heartbeatTick,
    maxSizePerMsg: Infinity,
    maxCommittedSizePerReady: Infinity,
    maxInflightMsgs: 256,
    maxInflightBytes: Infinity,
    maxUncommittedEntriesSize: Infinity,
    applied: 0,
    preVote: false,
    checkQuorum: false,
    asyncStorageWrites: false,
    stepDownOnRemoval: false,
    disableConfChangeValidation: false,
    disableProposalForwarding: false,
    readOnlyOption: 'safe',
    random: () => prng.random(),
    logger: null,
    sendPolicy: eagerSendPolicy,
    ...overrides,
  };
}

export function voters(...ids: number[]): ConfState {
  return { ...emptyConfState, voters: ids };
}

/** One peer with its storage and a state machine that keeps what was applied. */
export class Peer {
  readonly id: number;
  readonly storage: MemoryRaftStorage;
  readonly config: RaftConfig;
  node: RawNode;
  readonly applied: Entry[] = [];
  readonly readStates: ReadState[] = [];
  readonly appendQueue: Message[] = [];
  readonly applyQueue: Message[] = [];
  /** Messages that the host would put on the wire. */
  readonly outgoing: Message[] = [];

  constructor(config: RaftConfig, storage: MemoryRaftStorage) {
    this.id = config.id;
    this.config = config;
    this.storage = storage;
    this.node = new RawNode(config, storage);
  }

  /** Starts again from what is in storage. */
  restart(overrides: Partial<RaftConfig> = {}): void {
    const applied = this.applied[this.applied.length - 1]?.index ?? this.config.applied;
    this.appendQueue.length = 0;
    this.applyQueue.length = 0;
    this.outgoing.length = 0;
    this.node = new RawNode({ ...this.config, applied, ...overrides }, this.storage);
  }

  /** Handles one Ready; in async mode the storage work only queues up. */
  handleReady(): void {
    const ready = this.node.ready();
    this.readStates.push(...ready.readStates);
    if (!this.config.asyncStorageWrites) {
      if (ready.hardState !== null) this.storage.hardState = ready.hardState;
      this.store(ready.entries, ready.snapshot);
      this.apply(ready.committedEntries);
    }
    for (const m of ready.messages) {
      if (m.to === appendThread) this.appendQueue.push(m);
      else if (m.to === applyThread) this.applyQueue.push(m);
      else this.outgoing.push(m);
    }
    if (!this.config.asyncStorageWrites) this.node.advance();
  }

  handleReadys(): void {
    while (this.node.hasReady()) this.handleReady();
  }

  /** Does one piece of append work; its responses go to this peer or on the wire. */
  sync(): void {
    const m = must(this.appendQueue.shift(), 'append work');
    if (m.term !== 0) this.storage.hardState = { term: m.term, vote: m.vote, commit: m.commit };
    this.store(m.entries, m.snapshot);
    this.respond(m);
  }

  applyOne(): void {
    const m = must(this.applyQueue.shift(), 'apply work');
    this.apply(m.entries);
    this.respond(m);
  }

  private respond(m: Message): void {
    for (const response of m.responses) {
      if (response.to === this.id) this.node.step(response);
      else this.outgoing.push(response);
    }
  }

  private store(entries: readonly Entry[], snapshot: SnapshotMeta | null): void {
    if (snapshot !== null) this.storage.reset(snapshot);
    this.storage.append(entries);
  }

  private apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.type !== EntryType.EntryNormal) {
        const change = must(decodeConfChange(entry.data), 'a membership change');
        this.storage.confState = this.node.applyConfChange(change);
      }
      this.applied.push(entry);
    }
  }

  /** Payloads of applied entries that have one. */
  get values(): string[] {
    return this.applied
      .filter((e) => e.type === EntryType.EntryNormal && e.data.length > 0)
      .map((e) => e.data.toString());
  }

  tick(times = 1): void {
    for (let i = 0; i < times; i++) this.node.tick();
  }
}

export class Group {
  readonly peers: Peer[];
  /** Messages on their way. */
  network: Message[] = [];

  constructor(size: number, overrides: Partial<RaftConfig> = {}, conf?: ConfState) {
    const ids = Array.from({ length: size }, (_, i) => i + 1);
    const confState = conf ?? voters(...ids);
    this.peers = ids.map((id) => new Peer(testConfig(id, overrides), new MemoryRaftStorage(confState)));
  }

  peer(id: number): Peer {
    return must(this.peers[id - 1], `peer ${String(id)}`);
  }

  /** Adds a peer that knows nothing. */
  addBlank(overrides: Partial<RaftConfig> = {}): Peer {
    const peer = new Peer(testConfig(this.peers.length + 1, overrides), new MemoryRaftStorage(emptyConfState));
    this.peers.push(peer);
    return peer;
  }

  /** All storage work and Readys of one peer; its messages join the network. */
  work(peer: Peer): void {
    for (;;) {
      if (peer.node.hasReady()) peer.handleReady();
      else if (peer.appendQueue.length > 0) peer.sync();
      else if (peer.applyQueue.length > 0) peer.applyOne();
      else break;
    }
    this.collect(peer);
  }

  collect(peer: Peer): void {
    this.network.push(...peer.outgoing.splice(0));
  }

  /** Delivers what `wanted` says and drops the rest, until nothing moves. Only peers in `alive` take part. */
  settle(wanted: (m: Message) => boolean = () => true, alive: readonly number[] = this.peers.map((p) => p.id)): void {
    for (;;) {
      for (const id of alive) this.work(this.peer(id));
      const messages = this.network;
      this.network = [];
      if (messages.length === 0) return;
      for (const m of messages) if (wanted(m) && alive.includes(m.to)) this.peer(m.to).node.step(m);
    }
  }

  /** Elects a peer and settles. */
  elect(id: number, alive?: readonly number[]): Peer {
    const peer = this.peer(id);
    peer.node.campaign();
    this.settle(undefined, alive);
    return peer;
  }

  /** Proposes on a peer and settles. */
  propose(id: number, value: string, alive?: readonly number[]): void {
    this.peer(id).node.propose(Buffer.from(value));
    this.settle(undefined, alive);
  }
}

/** Drops whatever goes from or to these. */
export function without(...ids: number[]): (m: Message) => boolean {
  return (m) => !ids.includes(m.from) && !ids.includes(m.to);
}

export function normal(term: number, index: number, value = ''): Entry {
  return { term, index, type: EntryType.EntryNormal, data: Buffer.from(value) };
}

/** A message with the given fields. */
export function message(type: MsgType, from: number, to: number, fields: Partial<Message> = {}): Message {
  return Object.assign(newMessage(type, from, to), fields);
}

export function changeOf(
  changes: readonly (readonly ['add' | 'learner' | 'remove', number])[],
  transition: ConfChangeTransition = ConfChangeTransition.Auto,
): ConfChange {
  const types = {
    add: ConfChangeType.AddNode,
    learner: ConfChangeType.AddLearnerNode,
    remove: ConfChangeType.RemoveNode,
  } as const;
  return {
    transition,
    changes: changes.map(([what, id]) => ({ type: types[what], replicaId: id })),
    context: emptyBuffer,
  };
}
