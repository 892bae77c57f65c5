import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { firstDifference, normalText } from './compare.js';
import { Output } from './output.js';
import { runFile } from './run_files.js';
import { parseScript } from './script.js';

/* The runner itself: it must be able to fail. */

const folder = mkdtempSync(join(tmpdir(), 'conformance-'));

function failureOf(name: string, text: string): string | null {
  const path = join(folder, name);
  writeFileSync(path, text);
  return runFile(path).failure;
}

void t.test('directives are read as the format says', (t) => {
  const [d] = parseScript(
    '# comment\n\nfoo 1 "a" b= c=d e=(1,2, (3,4)) \\\n  f\ninput line\n----\nout 1\nout 2\n\nrest\n----\n',
  );
  t.equal(d?.command, 'foo');
  t.equal(d?.line, 3);
  t.strictSame(
    d?.args.map((a) => [a.key, ...a.values]),
    [['1'], ['"a"'], ['b', ''], ['c', 'd'], ['e', '1', '2', '(3,4)'], ['f']],
  );
  t.equal(d?.input, 'input line');
  t.equal(d?.expected, 'out 1\nout 2\n');
  t.equal(parseScript('x\n----\n----\na\n\nb\n----\n----\ny\n----\n')[0]?.expected, 'a\n\nb\n');
  t.throws(() => parseScript('foo\n'), /no ----/);
  t.end();
});

void t.test('logger lines do not count, and a directive that only logged was ok', (t) => {
  t.equal(normalText('INFO 1 became follower at term 1\n'), 'ok\n');
  t.equal(normalText('ok\n'), 'ok\n');
  t.equal(normalText('  DEBUG x\nMsg\n'), 'Msg\n');
  t.end();
});

void t.test('messages of a Ready are ordered by recipient, those to one recipient stay in order', (t) => {
  const one =
    'Messages:\n1->3 MsgApp a\n1->2 MsgApp b [\n  1/2 x\n]\n1->AppendThread MsgStorageAppend\n1->3 MsgApp c\n';
  const other =
    'Messages:\n1->2 MsgApp b [\n  1/2 x\n]\n1->3 MsgApp a\n1->3 MsgApp c\n1->AppendThread MsgStorageAppend\n';
  t.equal(normalText(one), normalText(other));
  const swapped =
    'Messages:\n1->2 MsgApp b [\n  1/2 x\n]\n1->3 MsgApp c\n1->3 MsgApp a\n1->AppendThread MsgStorageAppend\n';
  t.not(normalText(one), normalText(swapped));
  t.end();
});

void t.test('the first difference is shown in context', (t) => {
  t.equal(firstDifference('a\nb\n', 'a\nb\n'), null);
  t.match(firstDifference('a\nb\n', 'a\nc\n'), /- c\n.*\n {2}\+ b/s);
  t.end();
});

void t.test('the buffer is filtered at NONE, and an error is then all there is', (t) => {
  const output = new Output();
  output.write('x\n');
  t.equal(output.result(null), 'x\n');
  t.equal(output.result('failed'), 'x\nfailed');
  output.setLevel('none');
  output.reset();
  output.write('x\n');
  t.equal(output.result(null), 'ok');
  t.equal(output.result('failed'), 'failed');
  t.end();
});

void t.test('a file that expects something else fails with its line', (t) => {
  t.match(failureOf('vote.txt', 'vote cfg=(1) votes=(y)\n----\nVoteLost\n'), /vote\.txt:1: vote/);
  t.equal(failureOf('vote2.txt', 'vote cfg=(1) votes=(y)\n----\nVoteWon\n'), null);
  t.match(failureOf('simple.txt', 'simple\nv1\n----\nvoters=(2)\n1: StateProbe match=0 next=1\n'), /voters=\(1\)/);
  const cluster = 'add-nodes 1 voters=(1) index=2\n----\nok\n\ncampaign 1\n----\nok\n\nraft-state\n----\n';
  t.match(failureOf('state.txt', `${cluster}1: StateLeader (Voter) Term:1 Lead:1\n`), /StateCandidate/);
  t.equal(failureOf('state2.txt', `${cluster}1: StateCandidate (Voter) Term:1 Lead:0\n`), null);
  t.match(failureOf('unknown.txt', 'frobnicate 1\n----\nok\n'), /unknown command/);
  t.end();
});
