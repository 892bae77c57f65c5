import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import { PlacementService } from '../src/gen/skerry/v1/placement.js';
import { RpcError } from '../src/rpc/channel.js';
import { removalCheckMs } from './limits.js';
import type { MemberAddress, MemberLines } from './member_lines.js';

export interface RemovalWatchOptions {
  readonly runtime: Runtime;
  readonly lines: MemberLines;
  readonly ownId: number;
  readonly clusterId: () => number;
  readonly members: () => readonly MemberAddress[];
  /** Whether this member may have been removed: it hears of no leader, or is not in the group's configuration. */
  readonly isDoubtful: () => boolean;
  /** What another member of the same cluster says of the members. */
  readonly told: (list: MemberList) => void;
  /** It was removed for good. Called once. */
  readonly removed: () => void;
}

/**
 * Finds out that this member was removed. A group sends nothing to whom it has removed, so one that hears of no leader
 * asks the others. Proof is a list of the same cluster that knows of this member's id and does not have it any more. Any other list is
 * of use, too: to one that has no state yet, which may have been started with members that all went since, and to one whose
 * state is so old that it does not know the present leader.
 */
export class RemovalWatch {
  private readonly options: RemovalWatchOptions;
  private readonly timer: TimerHandle;
  private asking = false;
  private ended = false;

  constructor(options: RemovalWatchOptions) {
    this.options = options;
    this.timer = options.runtime.every(removalCheckMs, () => this.look());
  }

  close(): void {
    this.ended = true;
    this.timer.cancel();
  }

  private look(): void {
    const { ownId, members, isDoubtful, clusterId } = this.options;
    if (this.asking || clusterId() === 0 || !isDoubtful()) return;
    this.asking = true;
    const others = members().filter((m) => m.id !== ownId);
    void Promise.all(others.map((m) => this.saysRemoved(m.id))).then((answers) => {
      this.asking = false;
      if (this.ended || !answers.includes(true)) return;
      this.close();
      this.options.removed();
    });
  }

  private async saysRemoved(memberId: number): Promise<boolean> {
    const { lines, clusterId, ownId } = this.options;
    try {
      const answer = await lines.unary(memberId, PlacementService.getClusterInfo, {}, removalCheckMs);
      const list = answer.memberList;
      if (answer.clusterId !== clusterId() || list === undefined || this.ended) return false;
      this.options.told(list);
      return list.nextMemberId > ownId && !list.members.some((m) => m.memberId === ownId);
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return false;
    }
  }
}
