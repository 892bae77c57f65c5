import { PlacementService } from '../src/gen/skerry/v1/placement.js';
import type { GetClusterInfoResponse } from '../src/gen/skerry/v1/placement.js';
import type { Dial } from '../src/rpc/channel.js';
import { RpcError } from '../src/rpc/channel.js';
import type { Runtime } from '../src/base/runtime.js';
import { sleep } from '../src/base/runtime.js';
import { joinAttemptMs, joinAttemptsMax, joinPauseMs } from './limits.js';
import { addressesOf, type MemberAddress } from './member_lines.js';

/** What a member learns of the cluster that it joins. */
export interface ClusterToJoin {
  readonly clusterId: number;
  readonly transportId: number;
  readonly members: readonly MemberAddress[];
  /** Of the member at the asker's address; 0: none was added. */
  readonly memberId: number;
}

/**
 * Asks the members at these addresses for the cluster that they belong to, several times until one of them knows of a
 * member at the asker's address: they may be about to hear of it. Null: none of them answered, or none has heard of a
 * cluster yet.
 */
export async function findCluster(
  dial: Dial,
  addresses: readonly string[],
  ownAddress: string,
  runtime: Runtime,
): Promise<ClusterToJoin | null> {
  for (let attempt = 1; ; attempt++) {
    const known = await askAll(dial, addresses, ownAddress);
    if ((known !== null && known.memberId !== 0) || attempt === joinAttemptsMax) return known;
    await sleep(runtime, joinPauseMs);
  }
}

async function askAll(dial: Dial, addresses: readonly string[], ownAddress: string): Promise<ClusterToJoin | null> {
  let known: ClusterToJoin | null = null;
  for (const address of addresses) {
    const info = await clusterInfo(dial, address);
    const list = info?.memberList;
    if (info === null || list === undefined || info.clusterId === 0) continue;
    const members = addressesOf(list);
    const memberId = members.find((m) => m.address === ownAddress)?.id ?? 0;
    known = { clusterId: info.clusterId, transportId: list.transportId, members, memberId };
    // Another one may have heard of the new member already.
    if (memberId !== 0) return known;
  }
  return known;
}

async function clusterInfo(dial: Dial, address: string): Promise<GetClusterInfoResponse | null> {
  const channel = dial(address);
  try {
    return await channel.unary(PlacementService.getClusterInfo, {}, { timeoutMs: joinAttemptMs });
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return null;
  } finally {
    channel.close();
  }
}
