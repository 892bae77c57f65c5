import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startHost } from './support.js';

const hostProcess = fileURLToPath(import.meta.resolve('./host_process.js')).replace(/\.js$/, extensionHere());

/** Tests run as they are written or compiled. */
function extensionHere(): string {
  return import.meta.url.endsWith('.ts') ? '.ts' : '.js';
}

t.test('a stopped process is found on a connection that stays open, and met again once it goes on', async (t) => {
  const child = fork(hostProcess, ['5'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [address] = (await once(child, 'message')) as [string];
  const a = await startHost({ hostId: 1 });
  t.teardown(() => a.stop());
  a.transport.setPeer(2, address);
  await a.heard.until('peerUp');
  child.kill('SIGSTOP');
  await a.heard.until('peerDown');
  t.notOk(a.transport.isConnected(2));
  t.equal(a.transport.sendForward(2, 1, Buffer.from('lost')), false);
  child.kill('SIGCONT');
  await a.heard.until('peerUp', 2);
  t.match(a.heard.events.at(-1), { incarnation: 5 });
});
