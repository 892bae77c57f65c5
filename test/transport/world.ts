import { silentLogger } from '../../src/base/logger.js';
import { calmLink, MemoryNetwork, MemoryTransport, type LinkPolicy } from '../../src/transport/memory_network.js';
import { Recorder } from './support.js';
import { VirtualRuntime } from './virtual_runtime.js';

export interface Member {
  readonly transport: MemoryTransport;
  readonly heard: Recorder;
}

/** Hosts 1..n that know each other, on one virtual clock. */
export class World {
  readonly runtime: VirtualRuntime;
  readonly network: MemoryNetwork;
  readonly members = new Map<number, Member>();

  constructor(seed: number, policy: LinkPolicy = calmLink) {
    this.runtime = new VirtualRuntime(seed);
    this.network = new MemoryNetwork({ runtime: this.runtime, policy });
  }

  /** Starts a host that knows no other. */
  async lone(hostId: number, incarnation = 1, clusterId = 7, snapshotBytesPerSecond?: number): Promise<Member> {
    const transport = new MemoryTransport({
      hostId,
      clusterId,
      incarnation,
      runtime: this.runtime,
      logger: silentLogger,
      ...(snapshotBytesPerSecond === undefined ? {} : { snapshotBytesPerSecond }),
      network: this.network,
      address: `memory:${hostId}`,
    });
    const member = { transport, heard: new Recorder() };
    await transport.start(member.heard);
    return member;
  }

  /** Starts a host and introduces it to those that are there. */
  async start(hostId: number, incarnation = 1, clusterId = 7, snapshotBytesPerSecond?: number): Promise<Member> {
    const member = await this.lone(hostId, incarnation, clusterId, snapshotBytesPerSecond);
    const { transport } = member;
    for (const [other, { transport: theirs }] of this.members) {
      if (other === hostId) continue;
      transport.setPeer(other, `memory:${other}`);
      theirs.setPeer(hostId, `memory:${hostId}`);
    }
    this.members.set(hostId, member);
    return member;
  }

  async run(ms: number): Promise<void> {
    await this.runtime.run(ms);
  }
}
