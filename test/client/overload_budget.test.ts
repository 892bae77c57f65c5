import t from 'tap';
import { overloadMemoryMs, overloadTriesMax, overloadTriesPerSecond } from '../../src/client/limits.js';
import { OverloadBudget, OverloadBudgets } from '../../src/client/overload_budget.js';

const refusal = { limit: 'write_delay', retryAfterMs: 500 };

/** A budget after so many attempts at time 0. */
function triedTimes(count: number): OverloadBudget {
  const budget = new OverloadBudget(refusal, 0);
  for (let i = 0; i < count; i++) budget.tried();
  return budget;
}

t.test('past half of the tries nothing is tried again, and past all of them nothing is tried', async (t) => {
  const half = overloadTriesMax / 2;
  t.equal(triedTimes(half).mayRetry(0), true);
  t.equal(triedTimes(half + 1).mayRetry(0), false);
  t.equal(triedTimes(half + 1).mayTry(0), true);
  t.equal(triedTimes(overloadTriesMax - 1).mayTry(0), true);
  t.equal(triedTimes(overloadTriesMax).mayTry(0), false);
});

t.test('an answer makes a refused attempt good, up to the bound', async (t) => {
  const budget = triedTimes(overloadTriesMax + 500);
  budget.served();
  t.equal(budget.mayTry(0), true);
  for (let i = 0; i < 3 * overloadTriesMax; i++) budget.served();
  for (let i = 0; i < overloadTriesMax; i++) budget.tried();
  t.equal(budget.mayTry(0), false, 'no more was saved up than the bound');
});

t.test('a few tries come with time, so that a store that answers nothing is asked again', async (t) => {
  const budget = triedTimes(overloadTriesMax);
  t.equal(budget.mayTry(500 / overloadTriesPerSecond), false);
  t.equal(budget.mayTry(1_000 / overloadTriesPerSecond), true);
  budget.tried();
  t.equal(budget.mayTry(1_000 / overloadTriesPerSecond), false);
});

t.test(
  'a store at three times its rate is asked for about twice what it serves, whatever is tried again',
  async (t) => {
    // One in three of what comes would be served; what is refused comes again while that is allowed.
    const budget = new OverloadBudget(refusal, 0);
    let asked = 0;
    let served = 0;
    for (let second = 0; second < 60; second++) {
      let again = 0;
      for (let i = 0; i < 3_000 + again; i++) {
        if (!budget.mayTry(second * 1_000)) break;
        asked++;
        budget.tried();
        if (i % 3 === 0) {
          served++;
          budget.served();
        } else {
          budget.tried();
          if (budget.mayRetry(second * 1_000)) again++;
        }
      }
    }
    t.ok(asked <= 2 * served + overloadTriesMax + 60 * overloadTriesPerSecond, `${asked} asked, ${served} served`);
  },
);

t.test('each store has a budget of its own, its reads and writes apart, while it refuses', async (t) => {
  const budgets = new OverloadBudgets();
  budgets.refused(1, true, refusal, 0);
  for (let i = 0; i < overloadTriesMax; i++) budgets.find(1, true, 0)?.tried();
  t.equal(budgets.find(1, true, 0)?.mayTry(0), false);
  t.same(budgets.find(1, true, 0)?.last, refusal);
  t.equal(budgets.find(1, false, 0), undefined);
  t.equal(budgets.find(2, true, 0), undefined);
  budgets.refused(1, true, refusal, 1_000);
  t.not(budgets.find(1, true, overloadMemoryMs), undefined);
  t.equal(budgets.find(1, true, 1_000 + overloadMemoryMs), undefined, 'forgotten');
});
