import type { Operation, Verdict } from './history.js';
import { describeOperation, describeValue } from './history.js';

/*
 * Gibbons and Korach (1997), "Testing shared memories", section 4: atomicity of one register whose written values are all
 * different, in n log n. The write of a value and the reads that saw it are a cluster. Its zone lies between the earliest return and the latest
 * invocation among them. If the return comes first, the zone is forward: the register must have held the value throughout. Else it is
 * backward: all of the cluster may take effect at one moment, anywhere in the zone. The history is linearizable if and only if
 *   - no read returned before the write of its value began, and each value read was written (or is the first one, "nothing"),
 *   - no two forward zones overlap, and
 *   - no backward zone lies within a forward one.
 *
 * A write without an answer may take effect whenever: if its value was read, its return is at infinity; if not, it may as well never have taken
 * effect, and is left out. A read without an answer says nothing.
 */

interface Cluster {
  readonly value: string | null;
  readonly writeInvokeAt: number;
  readonly members: Operation[];
  earliestReturn: number;
  latestInvoke: number;
}

/** True if the zone check decides this history of one key: only gets, and sets of distinct values. */
export function zonesApply(operations: readonly Operation[]): boolean {
  const values = new Set<string>();
  return operations.every(({ call }) => {
    if (call.kind === 'get') return true;
    if (call.kind !== 'set' || values.has(call.value)) return false;
    values.add(call.value);
    return true;
  });
}

/** Checks the operations of one key, to which `zonesApply`. Never "unknown". */
export function checkZones(key: string, operations: readonly Operation[]): Verdict {
  const violation = (detail: string): Verdict => ({ kind: 'violation', key, detail });
  const clusters = writtenClusters(operations);
  for (const read of operations) {
    if (read.answer?.kind !== 'get' || read.returnAt === null) continue;
    const cluster = clusters.get(read.answer.value);
    if (cluster === undefined) return violation(`a value that was never written:\n  ${describeOperation(read)}`);
    if (read.returnAt < cluster.writeInvokeAt) {
      return violation(`read before its write began:\n  ${describeOperation(read)}\n${describeCluster(cluster)}`);
    }
    cluster.members.push(read);
    cluster.earliestReturn = Math.min(cluster.earliestReturn, read.returnAt);
    cluster.latestInvoke = Math.max(cluster.latestInvoke, read.invokeAt);
  }
  // A cluster whose earliest return is infinite is an unanswered write that nobody read.
  const zones = [...clusters.values()].filter(({ earliestReturn }) => earliestReturn < Infinity);
  const clash = findClash(zones);
  if (clash === null) return { kind: 'ok' };
  return violation(`${clash.why}\n${describeCluster(clash.one)}\n${describeCluster(clash.other)}`);
}

function writtenClusters(operations: readonly Operation[]): Map<string | null, Cluster> {
  const nothing = { value: null, writeInvokeAt: -Infinity, members: [] };
  const clusters = new Map<string | null, Cluster>([
    [null, { ...nothing, earliestReturn: -Infinity, latestInvoke: -Infinity }],
  ]);
  for (const write of operations) {
    const { call, invokeAt, returnAt } = write;
    if (call.kind !== 'set') continue;
    clusters.set(call.value, {
      value: call.value,
      writeInvokeAt: invokeAt,
      members: [write],
      earliestReturn: returnAt ?? Infinity,
      latestInvoke: invokeAt,
    });
  }
  return clusters;
}

interface Clash {
  readonly why: string;
  readonly one: Cluster;
  readonly other: Cluster;
}

/*
 * All comparisons are of a return with a later invocation, strictly, since that is what "precedes" is: zones that merely touch
 * leave an order in which both are satisfied.
 */
function findClash(zones: readonly Cluster[]): Clash | null {
  const forward = zones
    .filter((zone) => zone.earliestReturn < zone.latestInvoke)
    .sort((a, b) => a.earliestReturn - b.earliestReturn);
  let before: Cluster | undefined;
  for (const zone of forward) {
    // Those before it do not overlap, so the one directly before ends last.
    if (before !== undefined && zone.earliestReturn < before.latestInvoke) {
      return { why: 'two values that must both have been there at one time:', one: before, other: zone };
    }
    before = zone;
  }
  for (const zone of zones) {
    if (zone.earliestReturn < zone.latestInvoke) continue;
    const around = lastStartingBefore(forward, zone.latestInvoke);
    if (around !== undefined && zone.earliestReturn < around.latestInvoke) {
      return {
        why: 'a value that must have been there while another one was there throughout:',
        one: zone,
        other: around,
      };
    }
  }
  return null;
}

/** Of zones sorted by where they start, the last one that starts before `time`. */
function lastStartingBefore(sorted: readonly Cluster[], time: number): Cluster | undefined {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.earliestReturn ?? Infinity) < time) low = middle + 1;
    else high = middle;
  }
  return sorted[low - 1];
}

/** The members that bound the zone. */
function describeCluster({ value, members, earliestReturn, latestInvoke }: Cluster): string {
  const bounds = members.filter(
    ({ call, invokeAt, returnAt }) => call.kind === 'set' || invokeAt === latestInvoke || returnAt === earliestReturn,
  );
  return [`  ${describeValue(value)}:`, ...bounds.slice(0, 4).map((member) => `    ${describeOperation(member)}`)].join(
    '\n',
  );
}
