import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Runtime, TimerHandle } from '../../src/base/runtime.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { ApplyContext, Command, Group, MultiRaft, StateMachine, StateSnapshot } from '../../src/multiraft/host.js';
import { createMultiRaft } from '../../src/multiraft/multiraft.js';
import type { MultiRaftOptionsInput } from '../../src/multiraft/options.js';
import { emptyConfState } from '../../src/raft/conf_state.js';
import { NodeDisk } from '../../src/raftlog/node_disk.js';
import { calmLink, MemoryNetwork, MemoryTransport } from '../../src/transport/memory_network.js';
import { MemorySharedLog } from './memory_shared_log.js';

const origin = { index: 5, term: 5 };
/** A tick's period; timers of this period are the hosts' tickers, which tick() calls instead. */
export const tickMs = 100;

/** One put per command, over a few keys, and the applied position once per batch: the least that a store does. */
class PutMachine implements StateMachine {
  private readonly groupId: number;
  private readonly position: Buffer;
  private index = 0;

  constructor(groupId: number) {
    this.groupId = groupId;
    this.position = Buffer.from(`position/${String(groupId)}`);
  }

  keysToRead(): null {
    return null;
  }

  apply(index: number, _term: number, commands: readonly Command[], ctx: ApplyContext): readonly unknown[] {
    this.index = index;
    for (const command of commands) ctx.batch.put(this.position, command.bytes);
    return commands;
  }

  acceptConfChange(): boolean {
    return true;
  }

  applyConfChange(): null {
    return null;
  }

  finishBatch(ctx: ApplyContext): void {
    const record = Buffer.allocUnsafe(8);
    record.writeDoubleBE(this.index);
    ctx.batch.put(this.position, record);
  }

  hostOf(replicaId: number): number {
    return replicaId - this.groupId * 10;
  }

  readonly snapshotFormatVersion = 1;

  openSnapshot(): Promise<StateSnapshot> {
    return Promise.reject(new Error('nobody falls behind here'));
  }

  installSnapshot(): Promise<void> {
    return Promise.reject(new Error('nobody falls behind here'));
  }

  leaderChanged(): void {
    // Nobody asks.
  }
}

/** Three hosts in this process: the real hosts, transports and codecs; links, logs and engines in memory, ticks by hand. */
export class HostTrio {
  readonly hosts: readonly MultiRaft[];
  private readonly tickers: (() => void)[] = [];
  /** Ticks so far: they take no time, but for the hosts' clocks they do. */
  private ticks = 0;
  private readonly directory = mkdtempSync(join(tmpdir(), 'skerry-bench-multiraft-'));

  private constructor(options: MultiRaftOptionsInput) {
    const runtime = this.runtime();
    const network = new MemoryNetwork({ runtime, policy: { ...calmLink, delayMinMs: 0, delayMaxMs: 0 } });
    this.hosts = [1, 2, 3].map((hostId) => this.makeHost(hostId, runtime, network, options));
  }

  /** A trio with groups whose leaders are spread over the hosts. */
  static async start(groups: number, options: MultiRaftOptionsInput = {}): Promise<HostTrio> {
    const trio = new HostTrio(options);
    await Promise.all(trio.hosts.map((host) => host.start()));
    await turns(20);
    for (let groupId = 1; groupId <= groups; groupId++) {
      await Promise.all(trio.hosts.map((host) => trio.addReplica(host, groupId)));
    }
    for (let i = 0; trio.leaders().some((leader) => leader === null); i++) {
      if (i > 1000) throw new Error('groups without leaders');
      await trio.tick();
    }
    return trio;
  }

  /** The leading replica of each group; null: none leads. */
  leaders(): (Group | null)[] {
    const first = must(this.hosts[0], 'host');
    return [...first.groups()].map(
      ({ groupId }) => this.hosts.map((host) => must(host.group(groupId), 'group')).find((g) => g.isLeader()) ?? null,
    );
  }

  /** One tick of every host without what follows from it: CPU milliseconds per host. */
  tickOnly(): number {
    this.ticks++;
    const before = process.cpuUsage();
    for (const tick of this.tickers) tick();
    const used = process.cpuUsage(before);
    return (used.user + used.system) / 1000 / this.tickers.length;
  }

  /** One tick of every host, and what follows from it. */
  async tick(): Promise<void> {
    this.tickOnly();
    await this.settle();
  }

  /** Turns until what a tick set off was sent and answered: a heartbeat takes six. */
  async settle(): Promise<void> {
    await turns(12);
  }

  async close(): Promise<void> {
    for (const host of this.hosts) await host.close();
    rmSync(this.directory, { recursive: true });
  }

  private runtime(): Runtime {
    const node = nodeRuntime();
    return {
      ...node,
      nowMs: () => node.nowMs() + this.ticks * tickMs,
      after: (delayMs, fn) => (delayMs === 0 ? nextTurnTimer(fn) : node.after(delayMs, fn)),
      every: (periodMs, fn) => {
        if (periodMs !== tickMs) return node.every(periodMs, fn);
        this.tickers.push(fn);
        return { cancel: () => void this.tickers.splice(this.tickers.indexOf(fn), 1) };
      },
    };
  }

  private makeHost(
    hostId: number,
    runtime: Runtime,
    network: MemoryNetwork,
    options: MultiRaftOptionsInput,
  ): MultiRaft {
    const address = (id: number): string => `host-${String(id)}`;
    const transport = new MemoryTransport({
      hostId,
      clusterId: 1,
      incarnation: 1,
      runtime,
      logger: silentLogger,
      network,
      address: address(hostId),
    });
    for (const other of [1, 2, 3]) if (other !== hostId) transport.setPeer(other, address(other));
    return createMultiRaft({
      hostId,
      runtime,
      logger: silentLogger,
      log: new MemorySharedLog(runtime),
      engine: new MemoryEngine(),
      transport,
      disk: new NodeDisk(),
      stagingDirectory: this.directory,
      callbacks: {
        unknownGroup: () => null,
        dataLost: () => undefined,
        gone: () => undefined,
        forwarded: () => Promise.reject(new Error('nothing is forwarded')),
        fatal: (error) => {
          throw error;
        },
      },
      options: { tickMs, compaction: { checkMs: 1_000, entriesMin: 8_192 }, ...options },
    });
  }

  private addReplica(host: MultiRaft, groupId: number): Promise<Group> {
    const voters = [1, 2, 3].map((id) => groupId * 10 + id);
    return host.addGroup({
      groupId,
      replicaId: groupId * 10 + host.hostId,
      stateMachine: new PutMachine(groupId),
      applied: origin,
      confState: { ...emptyConfState, voters },
      bootstrap: origin,
      campaign: groupId % 3 === host.hostId - 1,
    });
  }
}

function nextTurnTimer(fn: () => void): TimerHandle {
  const immediate = setImmediate(fn);
  return { cancel: () => clearImmediate(immediate) };
}

/** Lets the event loop turn. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
