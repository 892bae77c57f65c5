import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import t from 'tap';

/* docs/invariants.md names code and tests that exist, and defines whatever is cited. */

const doc = readFileSync('docs/invariants.md', 'utf8');
const sections = doc.split(/^### /m).slice(1);
const defined = sections.map((section) => /^INV-\d+/.exec(section)?.[0] ?? '');

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file));
}

t.test('every file that the invariants name exists, and has the functions that they name', async (t) => {
  const links = [...doc.matchAll(/((?:`\w+`, )*`\w+` in )?\[[^\]]*\]\(([^)]+)\)/g)];
  t.ok(links.length > 100, 'the pattern finds the links');
  for (const [, names = '', target = ''] of links) {
    const path = normalize(join('docs', target));
    t.ok(existsSync(path), path);
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    for (const [, name = ''] of names.matchAll(/`(\w+)`/g))
      t.match(text, new RegExp(`\\b${name}\\b`), `${name} in ${path}`);
  }
});

t.test('every invariant has a number of its own, code and tests', async (t) => {
  t.equal(new Set(defined).size, defined.length);
  for (const section of sections) {
    t.match(section, /^INV-\d+\n/);
    t.match(section, /^- Code: .*\]\(/m, section.slice(0, 7));
    t.match(section, /^- Tests: .*\]\(/m, section.slice(0, 7));
  }
});

t.test('every invariant that code or tests cite is defined', async (t) => {
  let citations = 0;
  for (const file of ['src', 'store', 'placement', 'test', 'bench'].flatMap(filesBelow)) {
    for (const [cited] of readFileSync(file, 'utf8').matchAll(/\bINV-\d+/g)) {
      citations++;
      if (!defined.includes(cited)) t.fail(`${file} cites ${cited}, which docs/invariants.md does not define`);
    }
  }
  t.ok(citations > 0);
});
