import t from 'tap';
import { overloadTriesMax, overloadTriesPerSecond } from '../../src/client/limits.js';
import { OverloadBudget, OverloadBudgets } from '../../src/client/overload_budget.js';

const refusal = { limit: 'write_delay', retryAfterMs: 500 };

/** A budget after so many refusals at time 0. */
function refusedTimes(count: number): OverloadBudget {
  const budget = new OverloadBudget(refusal, 0);
  for (let i = 0; i < count; i++) budget.refused(refusal);
  return budget;
}

t.test('past half of the tries nothing is tried again, and past all of them nothing is tried', async (t) => {
  const half = overloadTriesMax / 2;
  t.equal(refusedTimes(half).mayRetry(0), true);
  t.equal(refusedTimes(half + 1).mayRetry(0), false);
  t.equal(refusedTimes(half + 1).mayTry(0), true);
  t.equal(refusedTimes(overloadTriesMax - 1).mayTry(0), true);
  t.equal(refusedTimes(overloadTriesMax).mayTry(0), false);
});

t.test('an answer makes a refusal good, up to the bound', async (t) => {
  const budget = refusedTimes(overloadTriesMax + 500);
  budget.served();
  t.equal(budget.mayTry(0), true);
  for (let i = 0; i < 3 * overloadTriesMax; i++) budget.served();
  for (let i = 0; i < overloadTriesMax; i++) budget.refused(refusal);
  t.equal(budget.mayTry(0), false, 'no more was saved up than the bound');
});

t.test('a few tries come with time, so that a store that answers nothing is asked again', async (t) => {
  const budget = refusedTimes(overloadTriesMax);
  t.equal(budget.mayTry(500 / overloadTriesPerSecond), false);
  t.equal(budget.mayTry(1_000 / overloadTriesPerSecond), true);
  budget.refused(refusal);
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
        if (i % 3 === 0) {
          served++;
          budget.served();
        } else {
          budget.refused(refusal);
          if (budget.mayRetry(second * 1_000)) again++;
        }
      }
    }
    t.ok(asked <= 2 * served + overloadTriesMax + 60 * overloadTriesPerSecond, `${asked} asked, ${served} served`);
  },
);

t.test('each store has a budget of its own, and its reads and writes apart', async (t) => {
  const budgets = new OverloadBudgets();
  for (let i = 0; i < overloadTriesMax; i++) budgets.refused(1, true, refusal, 0);
  t.equal(budgets.find(1, true)?.mayTry(0), false);
  t.same(budgets.find(1, true)?.last, refusal);
  t.equal(budgets.find(1, false), undefined);
  t.equal(budgets.find(2, true), undefined);
});
