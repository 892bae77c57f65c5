// Runs the compiled tests with tap and closes with one line: N passed, N failed.
//   node scripts/test.js            everything
//   node scripts/test.js raft       only files whose path holds "raft"
// Tests that start real processes run one file at a time, after the others: they share two cores badly.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = 'dist/test';
const words = process.argv.slice(2);
if (!existsSync(root)) {
  console.error('dist/test is missing: run npm run build first');
  process.exit(2);
}

/** Compiled test files whose source is still there (a deleted test leaves its old output in dist). */
function testFiles(directory) {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) return testFiles(path);
    const source = path.replace(/^dist\//, '').replace(/\.js$/, '.ts');
    return name.endsWith('.test.js') && existsSync(source) ? [path] : [];
  });
}

const files = testFiles(root).filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
if (files.length === 0) {
  console.error(`no test file matches ${words.join(' ')}`);
  process.exit(2);
}
const isCluster = (path) => path.startsWith(join(root, 'cluster'));
const phases = [
  { name: 'units, properties and simulations', files: files.filter((path) => !isCluster(path)), jobs: 2 },
  { name: 'real processes', files: files.filter(isCluster), jobs: 1 },
].filter((phase) => phase.files.length > 0);

/** Longest diagnostic that is repeated for one failure, in lines. */
const diagnosticLinesMax = 40;

/** Every failed line of a TAP text with its diagnostic: the terse reporter loses those of files that crash. */
function failures(text) {
  const lines = text.split('\n');
  return lines.flatMap((line, at) => {
    if (!/^\s*not ok\b/.test(line)) return [];
    const end = lines.findIndex((later, index) => index > at && later.trim() === '...');
    const hasDiagnostic = lines[at + 1]?.trim() === '---' && end > at;
    return [line, ...(hasDiagnostic ? lines.slice(at + 1, Math.min(end, at + diagnosticLinesMax) + 1) : [])];
  });
}

const totals = { pass: 0, fail: 0, skip: 0 };
let crashed = 0;
const skips = [];
const failed = [];
for (const phase of phases) {
  console.log(`\n== ${phase.name}: ${phase.files.length} files`);
  const directory = mkdtempSync(join(tmpdir(), 'skerry-tap-'));
  const raw = join(directory, 'out.tap');
  const result = spawnSync(
    'npx',
    ['tap', 'run', '--reporter=terse', `--output-file=${raw}`, `--jobs=${phase.jobs}`, ...phase.files],
    { stdio: 'inherit' },
  );
  const text = existsSync(raw) ? readFileSync(raw, 'utf8') : '';
  rmSync(directory, { recursive: true });
  const summary = /^# \{ total: \d+.*\}$/m.exec(text)?.[0] ?? '';
  for (const key of Object.keys(totals)) totals[key] += Number(new RegExp(`${key}: (\\d+)`).exec(summary)?.[1] ?? 0);
  for (const line of text.matchAll(/# SKIP\b.*$/gm)) skips.push(line[0]);
  failed.push(...failures(text));
  // tap failed without a failed assertion (a crash, a time-out, no summary): that is a failure too.
  if (summary === '' || (result.status !== 0 && !summary.includes('fail:'))) {
    crashed++;
    failed.push(`tap itself ended with status ${result.status}, signal ${result.signal}, summary "${summary}"`);
    failed.push(...text.split('\n').slice(-diagnosticLinesMax));
  }
}

for (const skip of skips) console.log(`SKIPPED: ${skip.replace('# SKIP', '').trim()}`);
if (failed.length > 0) console.log(`\n== failures\n${failed.join('\n')}\n`);
const failedCount = totals.fail + crashed;
console.log(`${totals.pass} passed, ${failedCount} failed`);
process.exit(failedCount === 0 ? 0 : 1);
