import t from 'tap';
import { silentLogger } from '../../src/base/logger.js';
import { MemberList } from '../../src/gen/skerry/v1/members.js';
import type { StoreSessionRequest } from '../../src/gen/skerry/v1/placement.js';
import { StoreReport, StoreSessionResponse } from '../../src/gen/skerry/v1/placement.js';
import type { PlacementConnector, SessionHandlers } from '../../store/placement_connector.js';
import { PlacementMembers } from '../../store/placement_members.js';
import { PlacementSession } from '../../store/placement_session.js';
import type { Replicas } from '../../store/replicas.js';
import { ShardReports } from '../../store/shard_reports.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';

const reportIntervalMs = 1_000;

/** A store without replicas, and the placement member that it is connected to. */
class Line {
  readonly clock = new VirtualClock();
  readonly sent: StoreSessionRequest[] = [];
  private handlers: SessionHandlers | null = null;

  constructor() {
    const runtime = new VirtualRuntime(this.clock, 1);
    const members = new PlacementMembers(['a:1'], runtime);
    const openSession: PlacementConnector['openSession'] = (_address, handlers) => {
      this.handlers = handlers;
      return { send: (request) => void this.sent.push(request), close: () => undefined };
    };
    const nobody = (): never => {
      throw new Error('not asked for here');
    };
    const none = { machines: () => [].values(), quarantined: () => [].values() } as unknown as Replicas;
    new PlacementSession({
      clusterId: 1,
      storeId: 7,
      runtime,
      logger: silentLogger,
      members,
      connector: {
        openSession,
        bootstrap: nobody,
        registerStore: nobody,
        getShardById: nobody,
        close: () => undefined,
      },
      reports: new ShardReports(none, runtime),
      executor: { execute: nobody },
      reportIntervalMs,
      storeReport: () => StoreReport.create({ membersVersion: members.version }),
      storesChanged: () => undefined,
      fatal: nobody,
    }).start();
  }

  receive(version: number): void {
    const memberList = MemberList.create({ members: [{ memberId: 1, address: 'a:1' }], version });
    this.handlers?.frame({ ...StoreSessionResponse.create(), memberList });
  }

  /** The version in each heartbeat since the last call. */
  heard(): (number | undefined)[] {
    return this.sent.splice(0).flatMap(({ store }) => (store === undefined ? [] : [store.membersVersion]));
  }

  drop(): void {
    this.handlers?.closed('broken');
  }
}

t.test('placement hears at once, and from then on, which list of its members a store has', async (t) => {
  const line = new Line();
  t.same(line.heard(), [0], 'none yet');
  line.receive(4);
  t.same(line.heard(), [4]);
  line.receive(4);
  line.receive(3);
  t.same(line.heard(), [], 'no news');
  await line.clock.advance(reportIntervalMs);
  t.same(line.heard(), [4]);
  line.receive(6);
  t.same(line.heard(), [6]);
  line.drop();
  await line.clock.advance(reportIntervalMs);
  t.equal(line.heard()[0], 6, 'a session begins with it');
});
