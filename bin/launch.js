import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Runs main(arguments) of a compiled module. SKERRY_FROM_SOURCE=1 takes the TypeScript source instead, for work on
 * Skerry itself (with `node --import tsx`).
 */
export async function launch(module) {
  const fromSource = process.env.SKERRY_FROM_SOURCE === '1';
  const url = new URL(fromSource ? `../${module}.ts` : `../dist/${module}.js`, import.meta.url);
  if (!existsSync(fileURLToPath(url))) {
    process.stderr.write(`skerry is not built: ${fileURLToPath(url)} is missing; run: npm run build\n`);
    process.exit(1);
  }
  const { main } = await import(url.href);
  await main(process.argv.slice(2));
}
