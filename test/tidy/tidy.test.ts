import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import t from 'tap';
import { nodeFlags } from '../../src/cli/playground/server_process.js';

/**
 * Keeps the tree tidy where lint does not look: circular imports, focus markers, file names, and that the two
 * commands of the README are those that package.json has.
 */
const roots = ['src', 'store', 'placement', 'test', 'bench'];

function sources(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return path === join('src', 'gen') ? [] : sources(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

const files = roots.flatMap(sources);
const text = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));

/** Value imports only: a type import leaves nothing behind at run time. */
function importsOf(file: string): string[] {
  const found: string[] = [];
  for (const match of (text.get(file) ?? '').matchAll(/^(?:import|export) (?!type )[^;]*?from '(\.[^']+)\.js';/gm)) {
    const target = normalize(join(dirname(file), `${match[1] ?? ''}.ts`));
    if (text.has(target)) found.push(target);
  }
  return found;
}

t.test('no file imports itself by way of others', async (t) => {
  const done = new Set<string>();
  const path: string[] = [];
  const cycles: string[] = [];
  const visit = (file: string): void => {
    if (done.has(file)) return;
    const at = path.indexOf(file);
    if (at !== -1) {
      cycles.push([...path.slice(at), file].join(' -> '));
      return;
    }
    path.push(file);
    for (const next of importsOf(file)) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of files) visit(file);
  t.same(cycles, []);
});

t.test('file names are snake_case', async (t) => {
  t.same(
    files.filter((file) => !/^[a-z0-9_]+(\.test|\.d)?\.ts$/.test(relative(dirname(file), file))),
    [],
  );
});

t.test('no test is focused and no error is switched off without a reason', async (t) => {
  const banned = [
    /\bt(est)?\.only\(/,
    /@ts-(ignore|nocheck)/,
    /@ts-expect-error\s*$/m,
    /eslint-disable[^\n]*$(?<!-- .+)/m,
  ];
  const self = join('test', 'tidy', 'tidy.test.ts');
  for (const [file, content] of text) {
    if (file === self) continue;
    for (const pattern of banned) t.notOk(pattern.test(content), `${file} has ${pattern.source}`);
  }
});

t.test('assertions are never compiled out: nothing reads NODE_ENV', async (t) => {
  for (const [file, content] of text) {
    if (file.startsWith('test')) continue;
    t.notOk(content.includes('NODE_ENV'), file);
  }
});

t.test('servers have the same Node.js flags in deploy/ as in the playground', async (t) => {
  const deployed = ['compose.yaml', 'systemd/skerry-store.service', 'systemd/skerry-placement.service'].map((name) =>
    readFileSync(join('deploy', name), 'utf8'),
  );
  const starts = [...deployed.join('\n').matchAll(/\bnode[, ]+((?:--[^ ,]+[, ]+)*)\S*bin\/(skerry-[a-z]+)\.js/g)];
  t.ok(starts.length >= 8, 'three of each in the compose file, a unit for each');
  for (const [start, flags = '', binary = ''] of starts) {
    t.same(
      flags.split(/[, ]+/).filter((flag) => flag !== ''),
      new Map(Object.entries(nodeFlags)).get(binary),
      start,
    );
  }
});
