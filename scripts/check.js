// Everything that is checked without running the code: format, lint, types, protos, generated code.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const steps = [
  ['format', 'npx', ['prettier', '--check', '--log-level', 'warn', '.']],
  ['protos', 'npx', ['buf', 'lint']],
  ['types', 'npx', ['tsc', '-p', 'tsconfig.json', '--noEmit', '--incremental', 'false']],
  ['lint', 'npx', ['eslint', '--max-warnings', '0', '.']],
];

let failed = 0;
function report(name, ok) {
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name}`);
  if (!ok) failed++;
}

for (const [name, command, args] of steps) {
  report(name, spawnSync(command, args, { stdio: 'inherit' }).status === 0);
}

// Generated code: make it again beside the committed copy and compare.
const saved = mkdtempSync(join(tmpdir(), 'skerry-gen-'));
cpSync('src/gen', saved, { recursive: true });
const generated = spawnSync('npm', ['run', '--silent', 'gen'], { stdio: 'inherit' }).status === 0;
const same = generated && spawnSync('diff', ['-r', saved, 'src/gen'], { stdio: 'inherit' }).status === 0;
rmSync(saved, { recursive: true });
report('generated code is up to date', same);

process.exit(failed === 0 ? 0 : 1);
