import { must } from '../../../src/base/assert.js';
import { MetaClient } from '../../../src/client/meta_client.js';
import { AdminClient } from '../../../src/client/admin_client.js';
import type { PlacementMember } from '../../../placement/placement_member.js';
import type { Surroundings } from '../../sim/machine.js';
import { SimNet } from '../../sim/net.js';
import { PlacementMachine } from '../../sim/placement_machine.js';
import { VirtualClock, VirtualRuntime } from '../../support/virtual_runtime.js';

/** Placement members on a virtual clock, network and disk, without stores. A process that ends itself fails the test. */
export class PlacementGroup {
  readonly clock = new VirtualClock();
  readonly net: SimNet;
  readonly machines: PlacementMachine[];
  private readonly around: Surroundings;
  private readonly callers = new VirtualRuntime(this.clock, 99);

  /** A process ended itself. */
  onUnexpected: (error: Error) => void = (error) => {
    throw error;
  };

  private constructor(members: number) {
    this.net = new SimNet(this.clock, 7);
    const placementAddresses = Array.from({ length: members }, (_, i) => `placement-${i + 1}:1`);
    this.around = {
      clock: this.clock,
      net: this.net,
      placementAddresses,
      placementToAsk: () => placementAddresses,
      clockDrift: 0,
      syncMs: 1,
      note: () => undefined,
      unexpected: (error) => this.onUnexpected(error),
    };
    this.machines = placementAddresses.map((name, i) => new PlacementMachine(name, this.around, i + 1));
  }

  /** Resolves when a member leads a cluster that has its id. */
  static async start(members: number): Promise<PlacementGroup> {
    const group = new PlacementGroup(members);
    for (const machine of group.machines) machine.boot();
    await group.untilLed();
    return group;
  }

  async untilLed(): Promise<PlacementMachine> {
    await this.clock.until(() => this.leaderOrNull() !== null, 'a member leads a cluster with an id');
    return must(this.leaderOrNull(), 'a leader');
  }

  get leader(): PlacementMachine {
    return must(this.leaderOrNull(), 'a leader');
  }

  get others(): PlacementMachine[] {
    return this.running.filter((machine) => machine !== this.leader);
  }

  get running(): PlacementMachine[] {
    return this.machines.filter((machine) => machine.member !== null);
  }

  /** A machine for a member that joins; it is not started. */
  newMachine(): PlacementMachine {
    const number = this.machines.length + 1;
    const machine = new PlacementMachine(`placement-${number}:1`, this.around, number);
    machine.joinAddresses = () => this.machines.filter((m) => m !== machine).map((m) => m.name);
    this.machines.push(machine);
    return machine;
  }

  /** Until every running member knows these voters, and no others. */
  async untilVoters(machines: readonly PlacementMachine[]): Promise<void> {
    const wanted = machines.map((machine) => machine.memberId).sort((a, b) => a - b);
    const agrees = (machine: PlacementMachine): boolean => {
      const { voters, learners } = this.memberOf(machine).groupStatus().confState;
      const ids = [...voters].sort((a, b) => a - b);
      return learners.length === 0 && ids.join() === wanted.join();
    };
    await this.clock.until(() => machines.every(agrees), `voters are ${wanted.join(', ')}`);
  }

  memberOf(machine: PlacementMachine): PlacementMember {
    return must(machine.member, 'a running member');
  }

  /** A client of one member, or of all of them. */
  meta(machine?: PlacementMachine): Promise<MetaClient> {
    return this.clock.resolve(MetaClient.connect(this.clientOptions(machine)));
  }

  admin(machine?: PlacementMachine): Promise<AdminClient> {
    return this.clock.resolve(AdminClient.connect(this.clientOptions(machine)));
  }

  clientOptions(machine?: PlacementMachine) {
    const placement = machine === undefined ? this.around.placementAddresses : [machine.name];
    return { placement, timeoutMs: 5_000, runtime: this.callers, dial: this.net.rpc.dial('caller', this.callers) };
  }

  private leaderOrNull(): PlacementMachine | null {
    const leads = ({ member }: PlacementMachine): boolean =>
      member !== null && member.leading !== null && member.state.clusterId !== 0;
    return this.running.sort((a, b) => this.memberOf(b).term - this.memberOf(a).term).find(leads) ?? null;
  }
}
