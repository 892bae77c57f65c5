import t from 'tap';
import type { ForwardError } from '../../src/multiraft/forwarding.js';
import { Cluster } from './cluster.js';

function reasonOf(promise: Promise<Buffer>): Promise<string> {
  return promise.then(
    (answer) => answer.toString(),
    (error: unknown) => (error as ForwardError).reason,
  );
}

t.test('a request passed to another host comes back with its answer', async (t) => {
  const cluster = await Cluster.start({ hosts: 2 });
  cluster.host(2).callbacks = {
    forwarded: async (fromHost, payload) => Buffer.from(`${fromHost} asked ${payload.toString()}`),
  };
  const answer = reasonOf(cluster.host(1).multiRaft.forward(2, Buffer.from('this'), 1_000));
  t.equal(await cluster.clock.resolve(answer), '1 asked this');
  await cluster.close();
});

t.test('a request to a host that is not connected is not sent', async (t) => {
  const cluster = await Cluster.start({ hosts: 2 });
  t.equal(await reasonOf(cluster.host(1).multiRaft.forward(9, Buffer.from('x'), 1_000)), 'notConnected');
  await cluster.close();
});

t.test('a request is given up when its host is lost, when its time is over, and when this host closes', async (t) => {
  const cluster = await Cluster.start();
  let served = 0;
  for (const hostId of [2, 3]) {
    cluster.host(hostId).callbacks = {
      forwarded: () => {
        served++;
        return new Promise(() => undefined);
      },
    };
  }
  const { multiRaft } = cluster.host(1);
  const lost = reasonOf(multiRaft.forward(2, Buffer.from('x'), 60_000));
  const late = reasonOf(multiRaft.forward(3, Buffer.from('x'), 300));
  const closed = reasonOf(multiRaft.forward(3, Buffer.from('x'), 60_000));
  await cluster.clock.advance(50);
  t.equal(served, 3);
  await cluster.crashHost(2);
  t.equal(await cluster.clock.resolve(lost), 'disconnected');
  t.equal(await cluster.clock.resolve(late, 500), 'timeout');
  await cluster.clock.resolve(multiRaft.close());
  t.equal(await closed, 'stopped');
  t.equal(await reasonOf(multiRaft.forward(3, Buffer.from('x'), 300)), 'stopped');
});

t.test('a server that fails to serve a forwarded request leaves its fate open', async (t) => {
  const cluster = await Cluster.start({ hosts: 2 });
  cluster.host(2).callbacks = { forwarded: () => Promise.reject(new Error('a fault')) };
  const answer = reasonOf(cluster.host(1).multiRaft.forward(2, Buffer.from('x'), 300));
  t.equal(await cluster.clock.resolve(answer), 'timeout');
  await cluster.close();
});
