import { jointIndex, jointVotes } from '../../src/raft/quorum/joint.js';
import { majorityIndex } from '../../src/raft/quorum/majority.js';
import type { VoteResult } from '../../src/raft/quorum/majority.js';
import type { Argument, Directive } from './script.js';

/* quorum/*.txt (FORMAT.md section 9). */

const voteTexts: Readonly<Record<VoteResult, string>> = { won: 'VoteWon', lost: 'VoteLost', pending: 'VotePending' };

interface QuorumCase {
  readonly incoming: readonly number[];
  readonly outgoing: readonly number[];
  readonly values: ReadonlyMap<number, string>;
}

/** Runs one directive, and checks what must not change the answer; throws when it does. */
export function runQuorumDirective(d: Directive): string {
  const c = caseOf(d.args);
  if (d.command === 'vote') return voteTexts[voteOf(c)];
  if (d.command !== 'committed') throw new Error(`unknown command ${d.command}`);
  const acked = new Map([...c.values].filter(([, v]) => v !== '_').map(([id, v]) => [id, Number(v)]));
  const committed = committedOf(c.incoming, c.outgoing, acked);
  checkCommitted(c, acked, committed);
  return picture(c, acked) + (committed === Infinity ? '∞' : String(committed));
}

function caseOf(args: readonly Argument[]): QuorumCase {
  const ids = (key: string): number[] => {
    const found = args.find((a) => a.key === key)?.values ?? [];
    return found[0] === 'zero' ? [] : found.map(Number);
  };
  const incoming = ids('cfg');
  const outgoing = ids('cfgj');
  const values = args.find((a) => a.key === 'idx' || a.key === 'votes')?.values ?? [];
  const voters = [...new Set([...incoming, ...outgoing])];
  return { incoming, outgoing, values: new Map(voters.map((id, i) => [id, values[i] ?? '_'])) };
}

function voteOf(c: QuorumCase): VoteResult {
  const votes = new Map([...c.values].filter(([, v]) => v !== '_').map(([id, v]) => [id, v === 'y']));
  const result = jointVotes(c.incoming, c.outgoing, votes);
  expectSame('swapping the halves', jointVotes(c.outgoing, c.incoming, votes), result);
  return result;
}

function committedOf(
  incoming: readonly number[],
  outgoing: readonly number[],
  acked: ReadonlyMap<number, number>,
): number {
  const half = (ids: readonly number[]): number => majorityIndex(ids.map((id) => acked.get(id) ?? 0));
  return jointIndex(half(incoming), half(outgoing));
}

function checkCommitted(c: QuorumCase, acked: ReadonlyMap<number, number>, committed: number): void {
  expectSame('swapping the halves', committedOf(c.outgoing, c.incoming, acked), committed);
  expectSame('brute force', bruteForce(c, acked), committed);
  if (c.outgoing.length === 0) expectSame('joining itself', committedOf(c.incoming, c.incoming, acked), committed);
  for (const [id, index] of acked) {
    if (index >= committed) continue;
    for (const lower of [index - 1, 0]) {
      const lowered = new Map(acked).set(id, Math.max(0, lower));
      expectSame('lowering what is below', committedOf(c.incoming, c.outgoing, lowered), committed);
    }
  }
}

/** The largest acknowledged index (or 0) that a majority of each half has reached. */
function bruteForce(c: QuorumCase, acked: ReadonlyMap<number, number>): number {
  const halves = [c.incoming, c.outgoing].filter((half) => half.length > 0);
  if (halves.length === 0) return Infinity;
  const reached = (half: readonly number[], index: number): boolean =>
    half.filter((id) => (acked.get(id) ?? 0) >= index).length * 2 > half.length;
  return Math.max(...[0, ...acked.values()].filter((index) => halves.every((half) => reached(half, index))));
}

function expectSame(what: string, actual: number | string, expected: number | string): void {
  if (actual !== expected) throw new Error(`${what} changes the answer from ${String(expected)} to ${String(actual)}`);
}

function picture(c: QuorumCase, acked: ReadonlyMap<number, number>): string {
  const ids = [...c.values.keys()].sort((a, b) => a - b);
  const n = ids.length;
  if (n === 0) return '<empty majority quorum>';
  const bars = barsOf(ids, acked);
  const lines = ids.map((id) => {
    const index = acked.get(id);
    const b = bars.get(id) ?? 0;
    const bar = index === undefined ? `?${' '.repeat(n)}` : `${'x'.repeat(b)}>${' '.repeat(n - b)}`;
    return `${bar} ${String(index ?? 0).padStart(5)}    (id=${id.toString(16)})\n`;
  });
  return `${' '.repeat(n)}    idx\n${lines.join('')}`;
}

function barsOf(ids: readonly number[], acked: ReadonlyMap<number, number>): Map<number, number> {
  const sorted = ids.map((id) => ({ id, index: acked.get(id) ?? 0 })).sort((a, b) => a.index - b.index || a.id - b.id);
  const bars = new Map<number, number>();
  sorted.forEach(({ id, index }, i) => {
    const before = sorted[i - 1];
    bars.set(id, before === undefined ? 0 : index > before.index ? i : (bars.get(before.id) ?? 0));
  });
  return bars;
}
