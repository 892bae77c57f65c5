import t from 'tap';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { startMember } from '../placement/support/running_members.js';
import type { Ended } from './support/run_skerry.js';
import { runSkerry } from './support/run_skerry.js';

// Real processes take their time on a busy machine.
t.setTimeout(280_000);
const directory = t.testdir();

t.test('skerry meta reads and writes the table of a running placement member', async (t) => {
  const member = await startMember(directory);
  t.teardown(() => member.stop());
  const meta = (args: string[], input?: string): Promise<Ended> =>
    runSkerry(['meta', ...args], {
      env: { SKERRY_PLACEMENT: member.server.address },
      ...(input === undefined ? {} : { input }),
    });
  const json = (run: Ended): unknown => JSON.parse(run.stdout.toString());

  const set = await meta(['set', 'service/a', 'host:1', '--output', 'json']);
  t.same(json(set), { key: 'service/a', version: 1 }, set.stderr);
  t.equal((await meta(['set', 'service/b'], 'from input')).code, exitCodes.ok);
  t.equal((await meta(['get', 'service/b'])).stdout.toString(), 'from input');
  t.equal((await meta(['get', 'service/b', '--stale'])).stdout.toString(), 'from input');
  const refused = await meta(['set', 'service/a', 'x', '--if-version', '7']);
  t.match(refused.stderr, /version 1, and version 7 was expected/);
  t.not(refused.code, exitCodes.ok);
  const list = await meta(['list', 'service/']);
  t.match(list.stdout.toString(), /KEY +VERSION +VALUE\nservice\/a +1 +host:1\nservice\/b +2 +from input\n/);
  t.equal((await meta(['exists', 'service/a'])).stdout.toString(), 'true\n');
  t.same(json(await meta(['del', 'service/a', '--output', 'json'])), { key: 'service/a', existed: true });
  t.equal((await meta(['exists', 'service/a'])).code, exitCodes.notFound);
  const gone = await meta(['get', 'service/a']);
  t.equal(gone.code, exitCodes.notFound);
  t.equal(gone.stdout.length, 0);
});
