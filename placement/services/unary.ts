import type { MethodDefinition, ServerUnaryCall, handleUnaryCall } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import type { TypedError } from '../../src/base/wire_errors.js';
import {
  clusterMismatch,
  deadlineExceeded,
  failedPrecondition,
  placementUnavailable,
  undetermined,
} from '../../src/base/wire_errors.js';
import type { LeaderWork } from '../leader_work.js';
import { RpcError } from '../../src/rpc/channel.js';
import { leaderWaitMs, requestTimeoutMsDefault, requestTimeoutMsMax } from '../limits.js';
import { forwardedKey } from '../member_lines.js';
import type { PlacementMember } from '../placement_member.js';
import { WireFault } from '../wire_fault.js';

/** What a handler knows of its call. */
export interface CallContext {
  readonly member: PlacementMember;
  /** Milliseconds until the caller's deadline; never negative. */
  remainingMs(): number;
}

export interface LeaderContext extends CallContext {
  readonly work: LeaderWork;
}

/** Each reply has a field for its typed error. */
interface Reply {
  error: TypedError | undefined;
}

type Method<Q, A> = MethodDefinition<Q, A>;
type Answer<A> = Omit<A, 'error'>;

/** A call that any member answers from its own state. */
export function local<Q extends object, A extends Reply>(
  member: PlacementMember,
  method: Method<Q, A>,
  handle: (request: Q, ctx: CallContext) => Promise<Answer<A>> | Answer<A>,
): handleUnaryCall<Q, A> {
  return serve(member, method, async (request, ctx) => {
    await checkCluster(request, ctx);
    return handle(request, ctx);
  });
}

/** Whether a call whose answer was lost on its way may be sent again; one that may not is answered by Undetermined. */
export type Repetition = 'repeatable' | 'once';

/** A call that the leader answers; any other member passes it on to it, once. */
export function atLeader<Q extends object, A extends Reply>(
  member: PlacementMember,
  method: Method<Q, A>,
  handle: (request: Q, ctx: LeaderContext) => Promise<Answer<A>> | Answer<A>,
  repetition: Repetition = 'repeatable',
): handleUnaryCall<Q, A> {
  return serve(member, method, async (request, ctx, forwarded) => {
    const known = (): boolean => member.leading !== null || (!forwarded && leadsElsewhere(member));
    await member.waiters.wait(known, Math.min(leaderWaitMs, ctx.remainingMs()));
    const work = member.leading;
    if (work !== null) {
      await checkCluster(request, ctx);
      return handle(request, { ...ctx, work });
    }
    if (forwarded || !leadsElsewhere(member)) throw new WireFault(placementUnavailable(member.leaderAddress()));
    return forward(member, method, request, ctx, repetition);
  });
}

function leadsElsewhere(member: PlacementMember): boolean {
  const leaderId = member.leaderId();
  return leaderId !== 0 && leaderId !== member.options.memberId;
}

async function forward<Q, A extends Reply>(
  member: PlacementMember,
  method: Method<Q, A>,
  request: Q,
  ctx: CallContext,
  repetition: Repetition,
): Promise<A> {
  const { lines } = member.options;
  const leaderId = member.leaderId();
  const leaderAddress = member.leaderAddress();
  if ((await lines.connected(leaderId, ctx.remainingMs())) !== null) {
    throw new WireFault(ctx.remainingMs() > 0 ? placementUnavailable(leaderAddress) : deadlineExceeded());
  }
  try {
    return await lines.unary(leaderId, method, request, ctx.remainingMs());
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (repetition === 'once') throw new WireFault(undetermined(0, 0));
    if (error.failure === 'deadline') throw new WireFault(deadlineExceeded());
    member.options.logger.debug({ err: error, leaderAddress }, 'could not pass a request on to the leader');
    throw new WireFault(placementUnavailable(leaderAddress));
  }
}

/** Refuses requests that name another cluster. Those that name none at all (GetClusterInfo, Bootstrap) pass. */
async function checkCluster(request: object, ctx: CallContext): Promise<void> {
  if (!('clusterId' in request) || typeof request.clusterId !== 'number') return;
  const { member } = ctx;
  if (member.state.clusterId === 0) await member.catchUp(Math.min(leaderWaitMs, ctx.remainingMs()));
  const actual = member.state.clusterId;
  if (actual === 0) throw new WireFault(failedPrecondition('NOT_BOOTSTRAPPED', 'the cluster is not bootstrapped yet'));
  if (request.clusterId !== actual) throw new WireFault(clusterMismatch(request.clusterId, actual));
}

function serve<Q extends object, A extends Reply>(
  member: PlacementMember,
  method: Method<Q, A>,
  handle: (request: Q, ctx: CallContext, forwarded: boolean) => Promise<Answer<A>>,
): handleUnaryCall<Q, A> {
  // Proto3: no bytes are a message with every field at its default.
  const refused = (error: TypedError): A => ({ ...method.responseDeserialize(Buffer.alloc(0)), error });
  return (call, callback) => {
    const forwarded = call.metadata.get(forwardedKey).length > 0;
    handle(call.request, contextOf(member, call), forwarded).then(
      (answer) => callback(null, { error: undefined, ...answer } as unknown as A),
      (error: unknown) => {
        if (error instanceof WireFault) {
          callback(null, refused(error.typed));
          return;
        }
        callback({ code: status.INTERNAL, details: 'internal error; see the log of the placement member' });
        member.options.fatal(error instanceof Error ? error : new Error(String(error)));
      },
    );
  };
}

function contextOf<Q, A>(member: PlacementMember, call: ServerUnaryCall<Q, A>): CallContext {
  const { runtime } = member.options;
  const given = Number(call.getDeadline());
  // A deadline is a point on the wall clock; what is left of it is measured on the monotonic one.
  const leftMs = Number.isFinite(given) ? given - runtime.wallMs() : requestTimeoutMsDefault;
  const untilMs = runtime.nowMs() + Math.min(leftMs, requestTimeoutMsMax);
  return { member, remainingMs: () => Math.max(0, untilMs - runtime.nowMs()) };
}
