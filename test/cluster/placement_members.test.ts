import { join } from 'node:path';
import t from 'tap';
import { freePorts } from '../../src/cli/playground/free_ports.js';
import { ServerProcess } from '../../src/cli/playground/server_process.js';
import { AdminClient, SkerryClient } from '../../src/client/index.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

t.test('the only placement member is replaced by another under load, and stores and clients follow', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 8 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'members', 8);
  load.start();
  await load.ackedMore(100);

  const [port = 0] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const memberId = await cluster.withAdmin((admin) => admin.addMember(address));
  const joining = new ServerProcess({
    name: 'placement-new',
    binary: 'skerry-placement',
    logFile: join(cluster.dataDir, 'placement-new.log'),
    flags: () => [
      ...['--join', cluster.placement, '--address', address],
      ...['--data-dir', join(cluster.dataDir, 'placement-new'), '--metrics-address', '127.0.0.1:0'],
    ],
  });
  t.teardown(() => joining.stop());
  await joining.start();
  t.equal(joining.ready.memberId, memberId);
  await cluster.withAdmin((admin) => admin.addMember(address, true));

  const first = cluster.placements[0];
  if (first === undefined) throw new Error('a placement member');
  await cluster.withAdmin((admin) => admin.removeMember(first.ready.memberId ?? 0));
  await eventually('the process of a removed member ends by itself', () => (first.running ? null : true));
  await load.ackedMore(100);

  const admin = await AdminClient.connect({ placement: address });
  t.teardown(() => admin.close());
  const members = await admin.listMembers();
  t.same(
    members.map((m) => [m.memberId, m.leader]),
    [[memberId, true]],
  );
  // Needs every store: they know of the new member by what the old one sent them.
  await eventually('the stores are connected to the new leader', async () => {
    const stores = await admin.listStores();
    return stores.every((s) => s.lastHeartbeatAgeMs >= 0) ? true : null;
  });
  await admin.createKeyspace('later', { shards: 4, wait: true });

  await joining.restart();
  await load.ackedMore(100);
  const report = await load.stop();
  t.same(report.violations, []);
  t.same([...report.failures], []);
});
