import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { applyEdit } from './mutant.js';
import { mutants } from './table.js';

/* The table of mutants fits the sources; npm run mutants runs it. */

void t.test('every mutant can still be made: each of its texts is in the source exactly once', (t) => {
  for (const mutant of mutants) {
    for (const edit of mutant.edits) {
      const result = applyEdit(readFileSync(edit.file, 'utf8'), edit);
      if ('problem' in result) t.fail(`${mutant.name}: ${result.problem} (adapt test/mutants to the new source)`);
      else t.not(edit.find, edit.replace, mutant.name);
    }
  }
  t.end();
});

void t.test('every mutant has a name of its own, and names tests that are there', (t) => {
  const names = mutants.map((m) => m.name);
  t.equal(new Set(names).size, names.length);
  for (const mutant of mutants) {
    t.match(mutant.name, /^[a-z]+(-[a-z]+)*$/);
    for (const test of mutant.killedBy) t.ok(existsSync(`test/${test}.test.ts`), `${mutant.name}: ${test}`);
  }
  t.end();
});

void t.test('a text that is missing or ambiguous is an error that says so', (t) => {
  const edit = { file: 'x.ts', find: 'a b', replace: 'c' };
  t.strictSame(applyEdit('1 a b 2', edit), { text: '1 c 2' });
  t.match(applyEdit('nothing', edit), { problem: /0 times in x\.ts, not once/ });
  t.match(applyEdit('a b a b', edit), { problem: /2 times in x\.ts, not once/ });
  t.end();
});
