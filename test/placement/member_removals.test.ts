import t from 'tap';
import { assert } from '../../src/base/assert.js';
import { StoreReport } from '../../src/gen/skerry/v1/placement.js';
import { ClusterView } from '../../placement/cluster_view.js';
import { LeaderTable } from '../../placement/leader_table.js';
import { storesNamedMax } from '../../placement/limits.js';
import { MemberRemovals } from '../../placement/member_removals.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import type { PlacementCommand } from '../../placement/state/commands.js';
import { untoldStores } from '../../placement/untold_stores.js';
import { WireFault } from '../../placement/wire_fault.js';

const times = { storeDisconnectMs: 1_000, storeDownMs: 10_000 };

/** Placement members 1, 2, ... and stores 1, 2, ..., all at time 0 and none of them heard yet. */
class World {
  readonly state = new ClusterState();
  readonly view: ClusterView;
  /** What was proposed and is not applied yet. */
  private readonly log: { command: PlacementCommand; settle: (applied: boolean) => void }[] = [];
  readonly removals: MemberRemovals;

  constructor(members: number, stores: number) {
    for (let i = 1; i <= members; i++) this.state.apply({ kind: 'putMember', memberId: i, address: `m${i}:1` });
    for (let i = 1; i <= stores; i++) {
      const store = { address: `s${i}:1`, labels: [], version: '', engine: '', directoryId: `s${i}` };
      this.state.apply({ kind: 'registerStore', storeId: 0, ...store });
    }
    this.view = new ClusterView({ state: () => this.state, leaders: new LeaderTable(), times, sinceMs: 0 });
    this.removals = new MemberRemovals(this.view, (command) => this.propose(command));
  }

  get listVersion(): number {
    return this.state.metaRecord.membersVersion;
  }

  /** undefined: it is of a version that does not say. */
  heartbeat(storeId: number, membersVersion: number | undefined): void {
    this.view.storeHeartbeat(storeId, StoreReport.create(membersVersion === undefined ? {} : { membersVersion }));
  }

  untold(...memberIds: number[]): number[] {
    return untoldStores(
      this.view,
      this.state.members.all().filter(({ memberId }) => memberIds.includes(memberId)),
    );
  }

  /** 'begun', or the reason of the refusal. */
  async remove(memberId: number, { voters = [1, 2, 3], force = false } = {}): Promise<string> {
    try {
      await this.removals.remove(memberId, { voters, force });
      return 'begun';
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      const { detail } = error.typed;
      return detail?.$case === 'failedPrecondition'
        ? `${detail.value.reason} ${detail.value.storeIds.join()}`
        : 'other';
    }
  }

  /** The group agrees on the oldest proposal, or loses it. */
  settle(applied: boolean): void {
    this.log.shift()?.settle(applied);
  }

  private propose(command: PlacementCommand): Promise<number> {
    return new Promise((resolve, reject) => {
      const settle = (applied: boolean): void => {
        const error = { message: 'lost', detail: undefined };
        const outcome = applied ? this.state.apply(command) : { ok: false as const, error };
        if (outcome.ok) resolve(outcome.value);
        else reject(new WireFault(outcome.error));
      };
      this.log.push({ command, settle });
    });
  }
}

t.test('a store knows the members of the list that it has, and no later one', (t) => {
  const world = new World(3, 2);
  world.heartbeat(1, 3);
  world.heartbeat(2, 2);
  t.same(world.untold(1, 2, 3), []);
  t.same(world.untold(2, 3), []);
  t.same(world.untold(3), [2], 'the second list does not have the third member');
  world.state.apply({ kind: 'putMember', memberId: 0, address: 'm4:1' });
  t.same(world.untold(4), [1, 2]);
  t.same(world.untold(3, 4), [2], 'one of them is enough');
  world.heartbeat(2, world.listVersion);
  t.same(world.untold(4), [1]);
  t.end();
});

t.test('a member that moved is known where it was, which is of no use', (t) => {
  const world = new World(2, 1);
  world.heartbeat(1, world.listVersion);
  t.same(world.untold(1), []);
  world.state.apply({ kind: 'putMember', memberId: 1, address: 'elsewhere:1' });
  t.same(world.untold(1), [1]);
  world.heartbeat(1, world.listVersion);
  t.same(world.untold(1), []);
  t.end();
});

t.test('a member recorded by an earlier version is known to whoever has the present list', (t) => {
  const world = new World(2, 1);
  world.state.members.restore({ memberId: 1, address: 'm1:1', leaving: false });
  world.heartbeat(1, world.listVersion - 1);
  t.same(world.untold(1), [1]);
  world.heartbeat(1, world.listVersion);
  t.same(world.untold(1), []);
  t.end();
});

t.test('a store counts by what it said last, until it has been silent for too long or is removed', (t) => {
  const world = new World(2, 4);
  world.heartbeat(1, 0);
  world.heartbeat(2, world.listVersion);
  t.same(world.untold(1, 2), [1, 3, 4], 'one that is not heard yet knows nothing');
  world.state.apply({ kind: 'buryStores', storeIds: [4] });
  world.view.setTime(times.storeDownMs);
  t.same(world.untold(1, 2), [1, 3], 'the second is silent, and knows what it knew');
  world.view.setTime(times.storeDownMs + 1);
  t.same(world.untold(1, 2), []);
  world.heartbeat(3, 0);
  t.same(world.untold(1, 2), [3], 'it came back');
  t.end();
});

t.test('a store of a version that does not say what it knows is told by its session', (t) => {
  const world = new World(2, 1);
  t.same(world.untold(1, 2), [1]);
  world.heartbeat(1, undefined);
  t.same(world.untold(1, 2), []);
  world.view.setTime(times.storeDisconnectMs + 1);
  t.same(world.untold(1, 2), [1], 'without one it may have missed a change');
  world.view.setTime(times.storeDownMs + 1);
  t.same(world.untold(1, 2), [], 'but not forever');
  t.end();
});

t.test('a removal is refused while a store knows no voter that stays, and names it', async (t) => {
  const world = new World(3, 2);
  world.heartbeat(1, world.listVersion);
  world.heartbeat(2, 1);
  t.equal(await world.remove(1), 'STORES_NOT_TOLD 2', 'it knows the first member only');
  const begun = world.remove(2);
  world.settle(true);
  t.equal(await begun, 'begun');
  t.equal(await world.remove(1, { voters: [1, 2] }), 'STORES_NOT_TOLD 1,2', 'the third does not vote yet');
  world.heartbeat(2, world.listVersion);
  const now = world.remove(1);
  world.settle(true);
  t.equal(await now, 'begun');
});

t.test(
  'what the state refuses is refused for its own reason, and what is done already is no new removal',
  async (t) => {
    const world = new World(2, 1);
    const unknown = world.remove(7);
    world.settle(true);
    t.equal(await unknown, 'MEMBER_NOT_FOUND ');
    world.heartbeat(1, world.listVersion);
    for (const title of ['begun', 'asked for twice']) {
      const removal = world.remove(1);
      world.settle(true);
      t.equal(await removal, 'begun', title);
      world.heartbeat(1, 0);
    }
    const last = world.remove(2);
    world.settle(true);
    t.equal(await last, 'LAST_MEMBER ');
  },
);

t.test('force removes a member whatever the stores have heard', async (t) => {
  const world = new World(2, 1);
  t.equal(await world.remove(1), 'STORES_NOT_TOLD 1');
  const forced = world.remove(1, { force: true });
  world.settle(true);
  t.equal(await forced, 'begun');
  t.ok(world.state.members.get(1)?.leaving);
});

t.test(
  'of two removals at once the second is refused if they leave a store nobody, and let through when the first is lost',
  async (t) => {
    const world = new World(3, 1);
    world.heartbeat(1, 2);
    const first = world.remove(1);
    t.equal(await world.remove(2), 'STORES_NOT_TOLD 1', 'it knows the first and the second');
    world.settle(false);
    t.equal(await first, 'other');
    const second = world.remove(2);
    world.settle(true);
    t.equal(await second, 'begun');
  },
);

t.test('the text names a few stores, the detail all of them', async (t) => {
  const stores = storesNamedMax + 3;
  const world = new World(2, stores);
  const error: unknown = await world.removals.remove(1, { voters: [1, 2], force: false }).catch((e: unknown) => e);
  assert(error instanceof WireFault, 'a typed refusal');
  t.match(error.typed.message, /placement member 1 stays until .*: 1, 2, .*, 16 and 3 more$/);
  const { detail } = error.typed;
  t.equal(detail?.$case === 'failedPrecondition' ? detail.value.storeIds.length : 0, stores);
});
