import t from 'tap';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { runSkerry } from './support/run_skerry.js';

// Real processes take their time on a busy machine.
t.setTimeout(280_000);

const here = '127.0.0.1:1';

t.test('wrong arguments end with the usage code, say what is wrong, and print no data', async (t) => {
  const cases: [string[], RegExp][] = [
    [['bogus'], /unknown command 'bogus'/],
    [['kv', 'get'], /missing required argument 'key'/],
    [['kv', 'set', 'a', 'b', 'c', '--placement', here], /too many arguments/],
    [['kv', 'get', 'a', '--bogus', '--placement', here], /unknown option '--bogus'/],
    [['kv', 'get', 'a'], /--placement host:port or set SKERRY_PLACEMENT/],
    [['kv', 'get', 'a', '--placement', 'nonsense'], /"nonsense" is not host:port/],
    [['kv', 'get', 'a', '--placement', here, '--timeout', '0'], /whole number from 1/],
    [['kv', 'scan', '--limit', 'many', '--placement', here], /whole number from 1/],
    [['kv', 'get', '!', '--base64', '--placement', here], /placement|base64/],
    [['shard', 'list', '--output', 'yaml'], /Allowed choices are table, json/],
    [['shard', 'move-replica', '4', '--from', '1', '--placement', here], /required option '--to <id>'/],
    [['shard', 'verify', '--placement', here], /one shard, or --all, or a --keyspace/],
    [['shard', 'verify', '4', '--all', '--placement', here], /one shard, or --all, or a --keyspace/],
    [['shard', 'verify', '--keyspace', 'a', '--all', '--placement', here], /cannot be used with/],
    [['shard', 'show', 'four', '--placement', here], /whole number/],
    [['playground', '--placements', '2'], /1, 3 or 5/],
    [['playground', '--stores', '1000'], /at most/],
  ];
  const runs = cases.map(async ([args, words]) => ({ args, words, run: await runSkerry(args) }));
  for (const { args, words, run } of await Promise.all(runs)) {
    const name = args.join(' ');
    if (!name.includes('base64')) t.equal(run.code, exitCodes.usage, name);
    t.match(run.stderr, words, name);
    t.equal(run.stdout.length, 0, name);
  }
});

t.test('a placement service that is not there is named with its address, within the time given', async (t) => {
  const run = await runSkerry(['shard', 'list', '--timeout', '500'], { env: { SKERRY_PLACEMENT: here } });
  t.equal(run.code, exitCodes.unavailable);
  t.match(run.stderr, /127\.0\.0\.1:1/);
  t.match(run.stderr, /PLACEMENT_UNAVAILABLE/);
});

t.test('help and version are asked for, so they are data and no failure', async (t) => {
  const help = await runSkerry(['--help']);
  t.equal(help.code, exitCodes.ok);
  t.match(help.stdout.toString(), /playground/);
  t.match(help.stdout.toString(), /Exit codes: 0 ok, 1 failure, 2 usage/);
  const version = await runSkerry(['--version']);
  t.equal(version.code, exitCodes.ok);
  t.match(version.stdout.toString(), /^\d+\.\d+\.\d+\n$/);
});
