import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { WatchRoutesRequest, WatchRoutesResponse } from '../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../src/gen/skerry/v1/placement.js';
import type { Dial, RpcChannel, RpcMethod, RpcStream, StreamHandlers } from '../src/rpc/channel.js';

/** One member of the placement group. */
export interface MemberAddress {
  readonly id: number;
  readonly address: string;
}

/** The members that a list names. */
export function addressesOf({ members }: MemberList): MemberAddress[] {
  return members.map(({ memberId, address }) => ({ id: memberId, address }));
}

/** Marks a call that another member passed on: whoever gets it answers it or refuses it, and never passes it on again. */
export const forwardedKey = 'skerry-forwarded';

const marked = { [forwardedKey]: '1' };

/** This member's lines to the other members, dialled when first needed. */
export class MemberLines {
  private readonly dial: Dial;
  private readonly addresses: Map<number, string>;
  private readonly channels = new Map<number, RpcChannel>();

  constructor(members: readonly MemberAddress[], dial: Dial) {
    this.addresses = new Map(members.map((m) => [m.id, m.address]));
    this.dial = dial;
  }

  /** Where a member is; a changed address drops the line to the old one. */
  setMember(memberId: number, address: string): void {
    if (this.addresses.get(memberId) === address) return;
    this.removeMember(memberId);
    this.addresses.set(memberId, address);
  }

  removeMember(memberId: number): void {
    this.addresses.delete(memberId);
    this.channels.get(memberId)?.close();
    this.channels.delete(memberId);
  }

  /** Null once the member can be called; else why nothing was sent to it. */
  connected(memberId: number, timeoutMs: number): Promise<string | null> {
    return this.channel(memberId).connected(timeoutMs);
  }

  /** Passes a request on. Rejects with RpcError when no answer came in time: it may have been carried out. */
  unary<Q, A>(memberId: number, method: RpcMethod<Q, A>, request: Q, timeoutMs: number): Promise<A> {
    return this.channel(memberId).unary(method, request, { timeoutMs, headers: marked });
  }

  /** Subscribes to a member's routes, which it refuses unless it leads. */
  watchRoutes(
    memberId: number,
    request: WatchRoutesRequest,
    handlers: StreamHandlers<WatchRoutesResponse>,
  ): RpcStream<never> {
    return this.channel(memberId).serverStream(PlacementService.watchRoutes, request, handlers, marked);
  }

  close(): void {
    for (const channel of this.channels.values()) channel.close();
    this.channels.clear();
  }

  private channel(memberId: number): RpcChannel {
    let channel = this.channels.get(memberId);
    if (channel === undefined) {
      channel = this.dial(this.addresses.get(memberId) ?? '');
      this.channels.set(memberId, channel);
    }
    return channel;
  }
}
