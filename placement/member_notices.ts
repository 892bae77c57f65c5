import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import { MembersService } from '../src/gen/skerry/v1/members.js';
import { RpcError } from '../src/rpc/channel.js';
import { memberNoticeMs } from './limits.js';
import type { MemberLines } from './member_lines.js';

export interface MemberNoticesOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly lines: MemberLines;
  readonly ownId: number;
  readonly clusterId: () => number;
  readonly list: () => MemberList;
  /** Whether another member's host is connected. */
  readonly isConnected: (memberId: number) => boolean;
}

/**
 * Tells members that this one has no connection with who the members are. Of two hosts the one with the lower id dials: a member that
 * was away while those that it knew were replaced would not find the others, and they may need its vote to have a leader.
 */
export class MemberNotices {
  private readonly options: MemberNoticesOptions;
  private readonly timer: TimerHandle;
  /** Members whose answer is awaited. */
  private readonly asked = new Set<number>();

  constructor(options: MemberNoticesOptions) {
    this.options = options;
    this.timer = options.runtime.every(memberNoticeMs, () => this.look());
  }

  close(): void {
    this.timer.cancel();
  }

  private look(): void {
    const { clusterId, list, ownId, isConnected } = this.options;
    if (clusterId() === 0) return;
    const present = list();
    for (const { memberId } of present.members) {
      if (memberId === ownId || isConnected(memberId) || this.asked.has(memberId)) continue;
      this.asked.add(memberId);
      void this.tell(memberId, present).finally(() => this.asked.delete(memberId));
    }
  }

  private async tell(memberId: number, list: MemberList): Promise<void> {
    const { lines, clusterId, logger } = this.options;
    try {
      const request = { clusterId: clusterId(), list };
      const { error } = await lines.unary(memberId, MembersService.tell, request, memberNoticeMs);
      if (error !== undefined) logger.warn({ memberId, error }, 'a member does not want to know the others');
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      logger.debug({ err: error, memberId }, 'could not tell a member who the others are');
    }
  }
}
