import t from 'tap';
import { SkerryClient } from '../../src/client/index.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

t.test('clients go on while the placement leader of three is stopped, and the others take over', async (t) => {
  const cluster = await clusterFor(t, { placements: 3 });
  await cluster.createKeyspace('default', { shards: 16 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'placement', 20);
  load.start();
  await load.ackedMore(200);

  const status = await cluster.withAdmin((admin) => admin.clusterStatus());
  const leader = cluster.placements.find((member) => member.ready.memberId === status.leaderId);
  if (leader === undefined) throw new Error(`no member ${status.leaderId}`);
  await leader.kill('SIGKILL');
  await load.ackedMore(200);

  await cluster.withAdmin((admin) =>
    eventually('another member leads', async () => {
      const { leaderId } = await admin.clusterStatus();
      return leaderId !== 0 && leaderId !== status.leaderId ? leaderId : null;
    }),
  );
  await cluster.withAdmin(async (admin) => {
    // It needs every store, and those come to the new leader in their own time.
    await eventually('the stores are connected to the new leader', async () =>
      (await admin.listStores()).every((s) => s.lastHeartbeatAgeMs >= 0) ? true : null,
    );
    await admin.createKeyspace('later', { shards: 4, wait: true });
  });
  const other = await SkerryClient.connect({ placement: cluster.placement, keyspace: 'later' });
  t.teardown(() => other.close());
  await other.set('made', 'after the failover');
  t.equal(String(await other.get('made')), 'after the failover');

  await leader.start();
  await load.ackedMore(200);
  const report = await load.stop();
  t.same(report.violations, []);
  t.same([...report.failures], []);
});

t.test('known routes go on working while all of placement is gone', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 4 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'alone', 8);
  load.start();
  await load.ackedMore(100);
  await cluster.placements[0]?.kill('SIGKILL');
  await load.ackedMore(300);
  await cluster.placements[0]?.start();
  await load.ackedMore(100);
  const report = await load.stop();
  t.same(report.violations, []);
  t.same([...report.failures], []);
});
