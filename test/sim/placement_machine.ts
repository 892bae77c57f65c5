import { silentLogger } from '../../src/base/logger.js';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { MembersService } from '../../src/gen/skerry/v1/members.js';
import { MetadataService } from '../../src/gen/skerry/v1/metadata.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import type { RaftLog } from '../../src/raftlog/raft_log.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import { MemoryTransport } from '../../src/transport/memory_network.js';
import { findCluster } from '../../placement/join_cluster.js';
import type { MemberAddress } from '../../placement/member_lines.js';
import { MemberLines } from '../../placement/member_lines.js';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import { PlacementMember } from '../../placement/placement_member.js';
import { adminService } from '../../placement/services/admin_service.js';
import { membersService } from '../../placement/services/members_service.js';
import { metadataService } from '../../placement/services/metadata_service.js';
import { placementService } from '../../placement/services/placement_service.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import type { VirtualRuntime } from '../support/virtual_runtime.js';
import { Machine } from './machine.js';
import { logDirectory } from './store_machine.js';

const transportClusterId = 4_711;
const segmentBytes = 64 * 1024;

/** A machine with a placement member. */
export class PlacementMachine extends Machine {
  member: PlacementMember | null = null;
  raftLog: RaftLog | null = null;
  private incarnation = 0;

  /** 0: not known yet, since it joins a running group. */
  memberId = this.around.placementAddresses.indexOf(this.name) + 1;
  /** Where it looks for the group that it joins. */
  joinAddresses: () => readonly string[] = () => this.around.placementAddresses;
  /** The group has taken this member out. */
  wasRemoved = false;
  /** What its identity file would hold, for a member that joined. */
  private joined: { readonly clusterId: number } | null = null;

  protected async startProcess(runtime: VirtualRuntime): Promise<void> {
    const { net, placementAddresses } = this.around;
    let members: readonly MemberAddress[] = placementAddresses.map((address, at) => ({ id: at + 1, address }));
    if (!placementAddresses.includes(this.name)) members = await this.join(runtime);
    const { memberId, joined } = this;
    const fatal = this.fatal(runtime);
    const disk = this.disk.mount(runtime);
    const logOptions = { disk, directory: logDirectory, runtime, logger: silentLogger, segmentBytes };
    const log = await openRaftLog({ ...logOptions, onFatal: fatal });
    const host = { hostId: memberId, clusterId: transportClusterId, incarnation: ++this.incarnation };
    const address = this.name;
    const transport = new MemoryTransport({
      ...host,
      runtime,
      logger: silentLogger,
      network: net.placementRaft,
      address,
    });
    net.join(this.name, net.placementRaft, memberId, runtime);
    const member = await PlacementMember.open({
      runtime,
      logger: silentLogger,
      memberId,
      members,
      transportId: transportClusterId,
      joined,
      settings: {
        times: { storeDisconnectMs: 3_000, storeDownMs: 8_000 },
        limits: moveLimitsDefault,
        patrolIntervalMs: 250,
        scheduleIntervalMs: 500,
        balanceHindrance: () => null,
        sizes: shardSizesDefault,
        scrub: { bytesPerSecond: 1_000_000, isDue: () => false },
      },
      lines: new MemberLines(members, net.rpc.dial(this.name, runtime)),
      log,
      engine: this.engine,
      transport,
      disk,
      stagingDirectory: '/staging',
      fatal,
      removed: () => this.removed(runtime),
    });
    net.rpc.listen(this.name, runtime, [
      { definition: PlacementService, implementation: placementService(member) },
      { definition: AdminService, implementation: adminService(member) },
      { definition: MembersService, implementation: membersService(member) },
      { definition: MetadataService, implementation: metadataService(member) },
    ]);
    await member.start();
    this.excuses.delete('joining');
    this.raftLog = log;
    this.member = member;
  }

  /** Learns who it is, the first time; the members that it was told of, each time. */
  private async join(runtime: VirtualRuntime): Promise<readonly MemberAddress[]> {
    const dial = this.around.net.rpc.dial(this.name, runtime);
    const cluster = await findCluster(dial, this.joinAddresses(), this.name, runtime);
    if (this.joined === null) {
      if (cluster === null || cluster.memberId === 0) throw new Error('nobody has added this placement member');
      this.memberId = cluster.memberId;
      this.joined = { clusterId: cluster.clusterId };
    }
    return cluster?.members ?? [];
  }

  /** The group has taken this member out: its process ends, and its machine stays down. */
  private removed(runtime: VirtualRuntime): void {
    runtime.nextTurn(() => {
      if (this.runtime !== runtime) return;
      this.wasRemoved = true;
      this.kill();
    });
  }

  protected forgetProcess(): void {
    this.member = null;
    this.raftLog = null;
  }
}
