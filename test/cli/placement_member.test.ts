import t from 'tap';
import { must } from '../../src/base/assert.js';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { AdminClient, SkerryError } from '../../src/client/index.js';
import { MemberRole } from '../../src/gen/skerry/v1/members.js';
import { startMembers, until } from '../placement/support/running_members.js';
import { newWorld, ScriptedStore } from '../placement/support/scripted_stores.js';
import type { Ended } from './support/run_skerry.js';
import { runSkerry } from './support/run_skerry.js';

// Real processes take their time on a busy machine.
t.setTimeout(280_000);
const directory = t.testdir();

t.test('skerry placement member remove names the stores that would be cut off, and obeys --force', async (t) => {
  const members = await startMembers(directory);
  t.teardown(() => Promise.all(members.map((m) => m.stop())));
  await until('the members are on record', () => members.some((m) => m.server.isLeading && m.server.clusterId !== 0));
  const leader = must(
    members.find((m) => m.server.isLeading),
    'a leader',
  );
  const others = members.filter((m) => m !== leader);
  const admin = await AdminClient.connect({ placement: leader.server.address });
  t.teardown(() => admin.close());
  await until('all are voters', async () => (await admin.listMembers()).every((m) => m.role === MemberRole.VOTER));

  const store = await ScriptedStore.register(newWorld(), leader.placement, leader.server.clusterId, 'a');
  store.membersVersion = 0;
  store.connect(leader.placement);
  t.teardown(() => store.disconnect());
  const heard = async (): Promise<boolean> => (await admin.listStores()).every((s) => s.lastHeartbeatAgeMs >= 0);
  await until('the store is heard', heard);

  const remove = (memberId: number, ...flags: string[]): Promise<Ended> =>
    runSkerry(['placement', 'member', 'remove', `${memberId}`, ...flags], {
      env: { SKERRY_PLACEMENT: leader.server.address },
    });
  const [one, two] = others.map((m) => m.memberId);
  if (one === undefined || two === undefined) throw new Error('three members');
  const refused = await remove(one);
  t.not(refused.code, exitCodes.ok);
  t.match(refused.stderr, new RegExp(`placement member ${one} stays until .*: ${store.storeId} `));
  const error: unknown = await admin.removeMember(one).catch((e: unknown) => e);
  t.ok(error instanceof SkerryError);
  t.match(error, { code: 'FAILED_PRECONDITION', details: { reason: 'STORES_NOT_TOLD', storeIds: [store.storeId] } });
  t.notOk(
    (await admin.listMembers()).some((m) => m.leaving),
    'nothing has changed',
  );

  const forced = await remove(one, '--force', '--wait');
  t.equal(forced.code, exitCodes.ok, forced.stderr);
  t.same((await admin.listMembers()).map((m) => m.memberId).includes(one), false);
  t.not((await remove(two)).code, exitCodes.ok, 'force was for that one');
  await until('the store is sent the list without it', () => store.listSent >= 5);
  store.membersVersion = store.listSent;
  await until('placement hears that the store knows the members', async () => {
    const run = await remove(two);
    if (run.code !== exitCodes.ok) t.match(run.stderr, /stays until/);
    return run.code === exitCodes.ok;
  });
});
