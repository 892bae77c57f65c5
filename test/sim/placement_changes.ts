import { Prng } from '../../src/base/prng.js';
import type { AdminClient } from '../../src/client/index.js';
import { SkerryError } from '../../src/client/index.js';
import type { SimCluster } from './cluster.js';
import type { PlacementMachine } from './placement_machine.js';

/** Members that the group has at most. */
const membersMax = 5;
/** Between two attempts to have a member added or removed, in ms. */
const askAgainMs = 200;

/**
 * Placement members come and go, and the one that leads dies in the middle of what it does. What people want of the members they
 * ask for until they have it, as operators of a cluster would; the faults may be over by then.
 */
export class PlacementChanges {
  private readonly cluster: SimCluster;
  private readonly prng: Prng;
  private readonly leaving = new Set<PlacementMachine>();
  /** Changes that the group has agreed to. */
  agreed = 0;

  constructor(cluster: SimCluster, seed: number) {
    this.cluster = cluster;
    this.prng = new Prng(seed);
  }

  chance(probability: number): boolean {
    return this.prng.chance(probability);
  }

  add(): boolean {
    if (this.cluster.placementMachines().length >= membersMax) return false;
    const machine = this.cluster.newPlacement();
    machine.excuses.add('joining');
    void this.persist(`placement member ${machine.name} is added`, (admin) => admin.addMember(machine.name)).then(() =>
      machine.boot(),
    );
    return true;
  }

  /** Any member but the last one that stays. */
  remove(): boolean {
    const staying = this.cluster.placementMachines().filter((m) => m.memberId !== 0 && !this.leaving.has(m));
    const machine = staying[this.prng.int(0, Math.max(0, staying.length - 1))];
    if (machine === undefined || staying.length < 2) return false;
    this.leaving.add(machine);
    void this.persist(`placement member ${machine.name} is removed`, (admin) => admin.removeMember(machine.memberId));
    return true;
  }

  /** Only while it leads an operator through its steps. Returns the machine, which somebody has to start again. */
  killLeader(): PlacementMachine | null {
    const leader = this.cluster.placementLeader();
    const machine = this.cluster.placements.find((m) => m.member !== null && m.member === leader);
    const [operator] = leader?.leading?.planner.table.running() ?? [];
    if (machine === undefined || operator === undefined) return null;
    this.cluster.around.note(`${machine.name} leads placement through operator ${operator.operatorId}`);
    if (this.prng.chance(0.5)) machine.kill();
    else machine.powerCut();
    return machine;
  }

  restartMs(): number {
    return this.prng.int(10, 4_000);
  }

  private async persist(what: string, call: (admin: AdminClient) => Promise<unknown>): Promise<void> {
    const { clock, around } = this.cluster;
    around.note(`asked for: ${what}`);
    for (;;) {
      try {
        const admin = await this.cluster.admin();
        await call(admin).finally(() => admin.close());
        around.note(`begun: ${what}`);
        this.agreed++;
        return;
      } catch (error) {
        if (!(error instanceof SkerryError)) throw error;
        around.note(`not yet: ${what}: ${error.code} ${error.message}`);
        await new Promise<void>((resolve) => void clock.addTimer(askAgainMs, resolve));
      }
    }
  }
}
