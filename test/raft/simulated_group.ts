import { assert, must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { batchingSendPolicy, eagerSendPolicy } from '../../src/raft/config.js';
import { decodeConfChange } from '../../src/raft/conf_change_codec.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import { emptyConfState, isMember } from '../../src/raft/conf_state.js';
import { appendThread, applyThread, emptyBuffer, EntryType } from '../../src/raft/message.js';
import type { ConfState, Entry, HardState, Message, SnapshotMeta } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { normal, testConfig, voters } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/*
 * A group under random loss, reorder, duplication, delay, crashes and slow disks, all drawn from one seed. Checks on the
 * way: election safety, log matching, state machine safety, no committed entry lost, no stale read.
 */

interface Disk {
  log: MemoryRaftStorage;
  applied: { index: number; term: number; confState: ConfState };
}

interface Work {
  readonly message: Message;
  /** Step of the simulation at which it is done. */
  readonly due: number;
}

/**
 * Where the initial members' log begins, in index and term. Others start blank at 0 and cannot be brought there but by a
 * snapshot: their configuration is not in the log.
 */
const initialIndex = 5;

class SimPeer {
  readonly id: number;
  readonly async: boolean;
  disk: Disk;
  node: RawNode | null = null;
  /** Written but not synced: storage as the core sees it runs ahead of the disk. */
  storage: MemoryRaftStorage;
  appends: Work[] = [];
  applies: Work[] = [];
  readsAsked = new Map<number, number>();

  constructor(id: number, async: boolean, conf: ConfState, base: number) {
    this.id = id;
    this.async = async;
    this.storage = new MemoryRaftStorage(conf, base, base);
    if (base > 0) this.storage.hardState = { term: base, vote: 0, commit: base };
    this.disk = { log: this.storage.clone(), applied: { index: base, term: base, confState: conf } };
  }
}

export interface SimOptions {
  readonly seed: number;
  readonly peers: number;
  readonly steps: number;
  /** Membership changes among this many more replicas. */
  readonly spares: number;
}

export interface SimReport {
  readonly committed: number;
  readonly elections: number;
  readonly restarts: number;
  readonly snapshots: number;
  readonly changes: number;
  readonly readsServed: number;
  readonly readsFailed: number;
  readonly hash: number;
}

export class SimulatedGroup {
  private readonly prng: Prng;
  private readonly options: SimOptions;
  private readonly peers: SimPeer[];
  private readonly asyncWrites: boolean;
  private readonly leaseBased: boolean;
  private network: { m: Message; due: number }[] = [];
  private now = 0;
  private nextValue = 1;
  private nextContext = 1;
  private faults = true;
  /** Faults of this seed. */
  private readonly loss: number;
  private readonly duplicate: number;
  private readonly delayMax: number;
  private readonly crash: number;
  private cutOff = new Set<number>();
  /** The one sequence of applied entries, from index 1 on. */
  private readonly truth: Entry[] = Array.from({ length: initialIndex }, (_, i) => normal(initialIndex, i + 1));
  private readonly leaders = new Map<number, number>();
  /** The highest index that any replica has seen committed. */
  private highestCommit = 0;
  private counts = { elections: 0, restarts: 0, snapshots: 0, changes: 0, readsServed: 0, readsFailed: 0 };
  private hash = 0;

  constructor(options: SimOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
    const p = this.prng;
    this.loss = p.chance(0.3) ? 0 : p.random() * 0.2;
    this.duplicate = p.random() * 0.1;
    this.delayMax = p.int(1, 12);
    this.crash = p.chance(0.4) ? 0 : p.random() * 0.004;
    this.asyncWrites = p.chance(0.6);
    this.leaseBased = p.chance(0.4);
    const conf = voters(...Array.from({ length: options.peers }, (_, i) => i + 1));
    this.peers = Array.from({ length: options.peers + options.spares }, (_, i) => {
      const initial = i < options.peers;
      return new SimPeer(i + 1, this.asyncWrites, initial ? conf : emptyConfState, initial ? initialIndex : 0);
    });
    for (const peer of this.peers) this.start(peer);
  }

  private start(peer: SimPeer): void {
    peer.storage = peer.disk.log.clone();
    peer.storage.confState = peer.disk.applied.confState;
    peer.storage.snapshotMeta = peer.disk.applied;
    peer.appends = [];
    peer.applies = [];
    peer.readsAsked.clear();
    const eager = this.options.seed % 2 === 0;
    const config = testConfig(peer.id, {
      applied: peer.disk.applied.index,
      preVote: this.options.seed % 3 !== 0,
      checkQuorum: this.leaseBased || this.options.seed % 5 !== 0,
      asyncStorageWrites: this.asyncWrites,
      readOnlyOption: this.leaseBased ? 'leaseBased' : 'safe',
      stepDownOnRemoval: true,
      maxSizePerMsg: 64,
      maxInflightMsgs: 4,
      maxInflightBytes: 256,
      maxCommittedSizePerReady: 128,
      random: () => this.prng.random(),
      sendPolicy: eager ? eagerSendPolicy : batchingSendPolicy,
    });
    peer.node = new RawNode(config, peer.storage);
  }

  run(): SimReport {
    for (let i = 0; i < this.options.steps; i++) this.oneStep();
    this.converge();
    return { committed: this.highestCommit, ...this.counts, hash: this.hash };
  }

  private oneStep(): void {
    this.now++;
    if (this.faults) this.injectFaults();
    if (this.faults || this.now % 20 === 0) this.act();
    this.deliver();
    for (const peer of this.peers) {
      if (peer.node === null) continue;
      // Clocks run at slightly different rates: within what leases allow for.
      if (this.now % 10 === peer.id % 10) peer.node.tick();
      this.work(peer);
    }
    this.check();
  }

  private injectFaults(): void {
    const p = this.prng;
    for (const peer of this.peers) {
      if (!p.chance(this.crash)) continue;
      peer.node = null;
      this.counts.restarts++;
    }
    for (const peer of this.peers) if (peer.node === null && p.chance(0.02)) this.start(peer);
    if (p.chance(0.005)) {
      this.cutOff = new Set(this.peers.filter(() => p.chance(0.3)).map((peer) => peer.id));
    }
    if (p.chance(0.02)) this.cutOff.clear();
  }

  /** Clients and administrators. */
  private act(): void {
    const p = this.prng;
    const peer = must(this.peers[p.int(0, this.peers.length - 1)], 'a peer');
    const { node } = peer;
    if (node === null) return;
    if (p.chance(0.3)) node.propose(Buffer.from(`v${String(this.nextValue++)}`));
    if (p.chance(0.1) && isMember(node.confState, peer.id)) {
      const context = this.nextContext++;
      peer.readsAsked.set(context, this.highestCommit);
      node.readIndex(context);
    }
    if (p.chance(0.004)) node.campaign();
    if (p.chance(0.01) && node.role === 'leader') node.transferLeader(p.int(1, this.peers.length));
    if (p.chance(0.02)) this.compact(peer);
    if (p.chance(0.03) && this.options.spares > 0 && node.role === 'leader') this.changeMembers(node);
    for (const [id, progress] of node.role === 'leader' ? node.status().progress : []) {
      // Hosts report how snapshots fared; sometimes late, sometimes wrongly.
      if (progress.state === 'snapshot' && p.chance(0.05)) node.reportSnapshot(id, p.chance(0.5));
      if (p.chance(0.002)) node.reportUnreachable(id);
    }
  }

  private compact(peer: SimPeer): void {
    const { index } = peer.disk.applied;
    if (index <= peer.storage.firstIndex() || peer.storage.lastIndex() < index) return;
    if (peer.disk.log.lastIndex() < index) return;
    for (const log of [peer.storage, peer.disk.log]) if (log.firstIndex() <= index) log.compact(index);
  }

  private changeMembers(node: RawNode): void {
    const p = this.prng;
    const kinds = [ConfChangeType.AddNode, ConfChangeType.RemoveNode, ConfChangeType.AddLearnerNode];
    const changes = Array.from({ length: p.int(0, 2) }, () => ({
      type: must(kinds[p.int(0, 2)], 'a kind'),
      replicaId: p.int(1, this.peers.length),
    }));
    const transition = p.chance(0.3) ? ConfChangeTransition.JointExplicit : ConfChangeTransition.Auto;
    const after = new Set(node.confState.voters);
    for (const c of changes) {
      if (c.type === ConfChangeType.AddNode) after.add(c.replicaId);
      else after.delete(c.replicaId);
    }
    // Keep enough voters for a majority to survive the crashes.
    if (after.size < 3 && changes.length > 0) return;
    node.proposeConfChange({ transition, changes, context: emptyBuffer });
  }

  private deliver(): void {
    const due = this.network.filter((item) => item.due <= this.now);
    this.network = this.network.filter((item) => item.due > this.now);
    for (const { m } of due) {
      const peer = this.peers[m.to - 1];
      if (peer?.node === null || peer?.node === undefined) continue;
      this.hash = (Math.imul(this.hash, 31) + m.type * 7919 + m.index * 31 + m.term + m.to) >>> 0;
      peer.node.step(m);
    }
  }

  private send(m: Message): void {
    const p = this.prng;
    if (this.cutOff.has(m.from) !== this.cutOff.has(m.to)) return;
    if (this.faults && p.chance(this.loss)) return;
    const delay = (): number => (this.faults ? p.int(1, this.delayMax) : 1);
    this.network.push({ m, due: this.now + delay() });
    if (this.faults && p.chance(this.duplicate)) this.network.push({ m: { ...m }, due: this.now + delay() });
  }

  private work(peer: SimPeer): void {
    const node = must(peer.node, 'a running peer');
    while (node.hasReady()) {
      const ready = node.ready();
      for (const { index, context } of ready.readStates) this.checkRead(peer, context, index);
      if (!peer.async) {
        this.write(peer.storage, ready.hardState, ready.entries, ready.snapshot);
        this.write(peer.disk.log, ready.hardState, ready.entries, ready.snapshot);
        if (ready.snapshot !== null) this.install(peer, ready.snapshot);
      }
      for (const m of ready.messages) this.dispatch(peer, m);
      if (!peer.async) {
        this.apply(peer, node, ready.committedEntries);
        node.advance();
      }
    }
    this.finishWork(peer);
  }

  private dispatch(peer: SimPeer, m: Message): void {
    const due = this.now + (this.faults ? this.prng.int(0, 5) : 0);
    if (m.to === appendThread) {
      const hardState = m.term === 0 ? null : { term: m.term, vote: m.vote, commit: m.commit };
      this.write(peer.storage, hardState, m.entries, m.snapshot);
      peer.appends.push({ message: m, due });
    } else if (m.to === applyThread) {
      peer.applies.push({ message: m, due });
    } else {
      this.send(m);
    }
  }

  /** Both threads work in order. */
  private finishWork(peer: SimPeer): void {
    while (peer.appends[0] !== undefined && peer.appends[0].due <= this.now) {
      const work = must(peer.appends.shift(), 'work').message;
      if (work.snapshot !== null) {
        // The state machine finishes what came before a snapshot first.
        while (peer.applies.length > 0) this.finishApply(peer);
        this.install(peer, work.snapshot);
      }
      const hardState = work.term === 0 ? null : { term: work.term, vote: work.vote, commit: work.commit };
      this.write(peer.disk.log, hardState, work.entries, work.snapshot);
      this.respond(peer, work);
    }
    while (peer.applies[0] !== undefined && peer.applies[0].due <= this.now) this.finishApply(peer);
  }

  private finishApply(peer: SimPeer): void {
    const work = must(peer.applies.shift(), 'work').message;
    this.apply(peer, must(peer.node, 'a running peer'), work.entries);
    this.respond(peer, work);
  }

  private respond(peer: SimPeer, work: Message): void {
    for (const m of work.responses) {
      if (m.to === peer.id) peer.node?.step(m);
      else this.send(m);
    }
  }

  private write(
    log: MemoryRaftStorage,
    hardState: HardState | null,
    entries: readonly Entry[],
    snapshot: SnapshotMeta | null,
  ): void {
    if (hardState !== null) log.hardState = hardState;
    if (snapshot !== null) {
      log.reset(snapshot);
    }
    log.append(entries);
  }

  private install(peer: SimPeer, snapshot: SnapshotMeta): void {
    this.counts.snapshots++;
    peer.disk.applied = snapshot;
    peer.storage.snapshotMeta = snapshot;
    assert(this.truth[snapshot.index - 1]?.term === snapshot.term, 'a snapshot is of the committed log');
  }

  private apply(peer: SimPeer, node: RawNode, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { applied } = peer.disk;
      assert(entry.index === applied.index + 1, 'entries are applied in order, once');
      const known = this.truth[entry.index - 1];
      if (known === undefined) {
        assert(this.truth.length === entry.index - 1, 'nobody skips an entry');
        this.truth.push(entry);
      } else {
        const same = known.term === entry.term && known.data.equals(entry.data);
        assert(same, `state machine safety: entry ${String(entry.index)} of ${String(peer.id)}`);
      }
      let { confState } = applied;
      if (entry.type !== EntryType.EntryNormal) {
        confState = node.applyConfChange(must(decodeConfChange(entry.data), 'a membership change'));
        if (known === undefined) this.counts.changes++;
      }
      peer.disk.applied = { index: entry.index, term: entry.term, confState };
      peer.storage.snapshotMeta = peer.disk.applied;
    }
  }

  /** Linearizability of reads: at least everything that was committed anywhere when the read was asked for. */
  private checkRead(peer: SimPeer, context: number, index: number): void {
    const asked = peer.readsAsked.get(context);
    assert(asked !== undefined, 'a read is answered once');
    peer.readsAsked.delete(context);
    if (index === -1) {
      this.counts.readsFailed++;
      return;
    }
    this.counts.readsServed++;
    assert(index >= asked, `stale read: ${String(index)} although ${String(asked)} was committed`);
  }

  private check(): void {
    for (const { node, id } of this.peers) {
      if (node === null) continue;
      if (node.role === 'leader') {
        const known = this.leaders.get(node.term);
        assert(known === undefined || known === id, `election safety: two leaders in term ${String(node.term)}`);
        if (known === undefined) this.counts.elections++;
        this.leaders.set(node.term, id);
      }
      this.highestCommit = Math.max(this.highestCommit, node.commit);
    }
    if (this.now % 50 === 0) this.checkLogs();
  }

  /** Log matching (Raft §5.3). */
  private checkLogs(): void {
    for (const a of this.peers) {
      for (const b of this.peers) {
        if (a.id >= b.id) continue;
        const low = Math.max(a.disk.log.firstIndex(), b.disk.log.firstIndex());
        let agreed = false;
        for (let i = Math.min(a.disk.log.lastIndex(), b.disk.log.lastIndex()); i >= low; i--) {
          const x = a.disk.log.entry(i);
          const y = b.disk.log.entry(i);
          agreed ||= x.term === y.term;
          assert(!agreed || (x.term === y.term && x.data.equals(y.data)), `log matching at ${String(i)}`);
        }
      }
    }
  }

  /** Faults stop: the group has to elect a leader, commit something new, and bring every member up to it. */
  private converge(): void {
    this.faults = false;
    this.cutOff.clear();
    for (const peer of this.peers) if (peer.node === null) this.start(peer);
    const target = this.highestCommit + 1;
    for (let i = 0; i < 4000; i++) {
      this.oneStep();
      const leader = this.peers.find((peer) => peer.node?.role === 'leader' && peer.node.commit > target);
      const conf = leader?.node?.confState;
      if (conf === undefined) continue;
      const members = this.peers.filter((peer) => isMember(conf, peer.id));
      if (members.every((peer) => peer.disk.applied.index >= target)) return;
      for (const [id, progress] of leader?.node?.status().progress ?? []) {
        if (progress.state === 'snapshot' && i % 200 === 0) leader?.node?.reportSnapshot(id, false);
      }
    }
    const states = this.peers.map(({ id, node, disk }) => {
      const s = node?.status();
      return `${String(id)}:${s?.role ?? 'down'} t${String(s?.term)} c${String(s?.commit)} a${String(disk.applied.index)}`;
    });
    throw new Error(`liveness: no convergence past ${String(target)}: ${states.join(', ')}`);
  }
}
