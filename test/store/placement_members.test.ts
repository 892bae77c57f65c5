import t from 'tap';
import type { TypedError } from '../../src/base/wire_errors.js';
import {
  deadlineExceeded,
  failedPrecondition,
  placementUnavailable,
  serverIsBusy,
  undetermined,
} from '../../src/base/wire_errors.js';
import { PlacementMembers, PlacementRefusal } from '../../store/placement_members.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';

/** Asks two members that give these answers in turn, then a good one. Returns whom it asked. */
async function ask(answers: readonly TypedError[]): Promise<string[]> {
  const clock = new VirtualClock();
  const members = new PlacementMembers(['a:1', 'b:1'], new VirtualRuntime(clock, 1));
  const asked: string[] = [];
  const call = (address: string): Promise<{ error: TypedError | undefined }> => {
    asked.push(address);
    return Promise.resolve({ error: answers[asked.length - 1] });
  };
  await clock.resolve(members.ask(call, () => undefined));
  return asked;
}

t.test('a member that is late, busy, unsure or not the leader is asked again, and so are the others', async (t) => {
  const passing = [deadlineExceeded(), undetermined(0, 0), placementUnavailable(''), serverIsBusy('queue', 10)];
  for (const error of passing) t.same(await ask([error]), ['a:1', 'b:1'], error.message);
  t.same(await ask(passing), ['a:1', 'b:1', 'a:1', 'b:1', 'a:1']);
});

t.test('a member that names its leader sends the store there', async (t) => {
  t.same(await ask([placementUnavailable('leader:1')]), ['a:1', 'leader:1']);
});

t.test('what time does not cure is a refusal', async (t) => {
  await t.rejects(ask([failedPrecondition('STORE_REMOVED')]), PlacementRefusal);
});
