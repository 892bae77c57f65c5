import { Prng } from '../../src/base/prng.js';
import type { LinkPolicy } from '../../src/transport/memory_network.js';
import { MemoryNetwork } from '../../src/transport/memory_network.js';
import { MemoryRpc } from '../support/memory_rpc.js';
import type { VirtualClock } from '../support/virtual_runtime.js';
import { VirtualRuntime } from '../support/virtual_runtime.js';

/** A machine's or client's name on the network; for a server also its address. */
export type Name = string;

const calmWeather = { delayMs: 0.5, loss: 0 };
/** Time without contact after which a connection to a process that stands still breaks. */
const stallBreaksAfterMs = 1_000;

/**
 * All of the cluster's networks under one set of cuts: Raft among the stores, Raft among the placement members, and calls.
 * Weather is what the links between servers do to single frames: delay, loss, duplicates, reordering.
 */
export class SimNet {
  readonly storeRaft: MemoryNetwork;
  readonly placementRaft: MemoryNetwork;
  readonly rpc: MemoryRpc;
  private readonly cuts = new Set<string>();
  /** Raft host ids of machines, on the network that they are on. */
  private readonly hosts = new Map<Name, { readonly network: MemoryNetwork; readonly hostId: number }>();
  private readonly runtimes = new Map<MemoryNetwork, Map<number, VirtualRuntime>>();
  private readonly prng: Prng;
  /** The network's own clock: it never stands still. */
  private readonly runtime: VirtualRuntime;
  private weather = calmWeather;

  constructor(clock: VirtualClock, seed: number) {
    this.prng = new Prng(seed);
    this.runtime = new VirtualRuntime(clock, this.prng.nextU32());
    this.storeRaft = this.network();
    this.placementRaft = this.network();
    this.rpc = new MemoryRpc({
      runtime: this.runtime,
      isCut: (from, to) => this.cuts.has(`${from}>${to}`),
      delayMs: () => 0.1 + this.weather.delayMs * this.prng.random(),
    });
  }

  /** A machine's present process takes part under this id. */
  join(name: Name, network: MemoryNetwork, hostId: number, runtime: VirtualRuntime): void {
    this.hosts.set(name, { network, hostId });
    const known = this.runtimes.get(network) ?? new Map<number, VirtualRuntime>();
    known.set(hostId, runtime);
    this.runtimes.set(network, known);
    this.applyCuts();
  }

  /** A machine's process is gone. With `silent` nobody hears of it: the machine lost its power. */
  leave(name: Name): void {
    this.rpc.drop(name);
    const host = this.hosts.get(name);
    if (host === undefined) return;
    host.network.unlisten(name, host.hostId);
    this.disconnectAll(name);
  }

  /** A process stands still: whoever is connected to it finds out after a while. */
  stalled(name: Name, runtime: VirtualRuntime): void {
    this.runtime.after(stallBreaksAfterMs, () => {
      if (runtime.isPaused && runtime.isAlive) this.disconnectAll(name);
    });
  }

  /** Nothing passes from one to the other any more. */
  cut(from: Name, to: Name): void {
    this.cuts.add(`${from}>${to}`);
    this.applyCuts();
  }

  healAll(): void {
    this.cuts.clear();
    this.storeRaft.healAll();
    this.placementRaft.healAll();
    this.rpc.healed();
  }

  get cutCount(): number {
    return this.cuts.size;
  }

  setWeather(delayMs: number, loss: number): void {
    this.weather = { delayMs, loss };
    const policy: LinkPolicy = {
      delayMinMs: 0.1,
      delayMaxMs: 0.1 + delayMs,
      dropRate: loss,
      duplicateRate: loss,
      reorderRate: loss,
    };
    this.storeRaft.setDefaultPolicy(policy);
    this.placementRaft.setDefaultPolicy(policy);
  }

  calm(): void {
    this.setWeather(calmWeather.delayMs, calmWeather.loss);
  }

  private network(): MemoryNetwork {
    const network: MemoryNetwork = new MemoryNetwork({
      runtime: this.runtime,
      deliver: (hostId, receive) => {
        const host = this.runtimes.get(network)?.get(hostId);
        if (host === undefined) receive();
        else host.run(receive);
      },
    });
    this.runtimes.set(network, new Map());
    return network;
  }

  private disconnectAll(name: Name): void {
    const host = this.hosts.get(name);
    if (host === undefined) return;
    for (const other of this.hosts.values()) {
      if (other.network === host.network && other.hostId !== host.hostId) {
        host.network.disconnect(host.hostId, other.hostId);
      }
    }
  }

  private applyCuts(): void {
    for (const cut of this.cuts) {
      const [from = '', to = ''] = cut.split('>');
      const [a, b] = [this.hosts.get(from), this.hosts.get(to)];
      if (a !== undefined && b !== undefined && a.network === b.network) a.network.cut(a.hostId, b.hostId);
    }
  }
}
