import t from 'tap';
import { storeNotFound } from '../../src/base/wire_errors.js';
import type { Group, ProposalOutcome } from '../../src/multiraft/host.js';
import { proposalsInFlightMax } from '../../placement/limits.js';
import { Proposer } from '../../placement/proposer.js';
import { WireFault } from '../../placement/wire_fault.js';

type Done = (outcome: ProposalOutcome) => void;

/** A group whose proposals are decided by the test. */
function stubGroup(): { readonly group: Group; readonly waiting: Done[] } {
  const waiting: Done[] = [];
  const propose: Group['propose'] = (_kind, _bytes, done) => void waiting.push(done);
  // Only propose() is ever called.
  return { group: { propose } as unknown as Group, waiting };
}

async function outcomeOf(decided: ProposalOutcome): Promise<string> {
  const { group, waiting } = stubGroup();
  const result = new Proposer(group, () => 'leader:1').propose({ kind: 'allocateIds', count: 1 });
  waiting[0]?.(decided);
  try {
    return `value ${await result}`;
  } catch (error) {
    return error instanceof WireFault ? (error.typed.detail?.$case ?? 'untyped') : String(error);
  }
}

t.test('each fate of a proposal has its answer', async (t) => {
  const applied = (result: unknown): ProposalOutcome => ({ status: 'applied', index: 1, result });
  t.equal(await outcomeOf(applied({ ok: true, value: 7 })), 'value 7');
  t.equal(await outcomeOf(applied({ ok: false, error: storeNotFound(3) })), 'storeNotFound');
  t.equal(await outcomeOf({ status: 'dropped', reason: 'busy', leaderId: 1 }), 'serverIsBusy');
  t.equal(await outcomeOf({ status: 'dropped', reason: 'notLeader', leaderId: 2 }), 'placementUnavailable');
  t.equal(await outcomeOf({ status: 'undetermined', leaderId: 0 }), 'placementUnavailable');
});

t.test('past the limit of proposals in flight a caller is told to wait', async (t) => {
  const { group, waiting } = stubGroup();
  const proposer = new Proposer(group, () => '');
  const command = { kind: 'allocateIds', count: 1 } as const;
  const all = Array.from({ length: proposalsInFlightMax }, () => proposer.propose(command));
  const refused: unknown = await proposer.propose(command).catch((error: unknown) => error);
  t.match(refused, { typed: { detail: { $case: 'serverIsBusy' } } });
  for (const done of waiting) done({ status: 'applied', index: 1, result: { ok: true, value: 1 } });
  await Promise.all(all);
  t.equal(proposer.pending, 0);
});
