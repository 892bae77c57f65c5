import { readFileSync } from 'node:fs';
import { type EngineErrorCode, EngineError } from './engine_error.js';
import type { RocksdbBinding } from './rocksdb_binding.js';

/** Not a literal: the module has no types, its native functions are typed in rocksdb_binding.ts. */
const moduleName: string = '@nxtedition/rocksdb/binding.js';

const cure =
  'run it on Linux x64 with glibc and a processor of 2015 or later (x86-64-v3), or on macOS arm64; ' +
  'for development elsewhere, install the package "rocksdb" and set "engine: { kind: rocksdb-dev }" in the configuration';

/** Loads the native module; EngineError `unsupported` names the cure where it cannot be loaded. */
export async function loadBinding(): Promise<RocksdbBinding> {
  const missing = missingFeatures();
  if (missing.length > 0) {
    throw new EngineError('unsupported', `this processor lacks ${missing.join(', ')}, which RocksDB needs: ${cure}`);
  }
  try {
    const module = (await import(moduleName)) as { default: RocksdbBinding };
    return module.default;
  } catch (error) {
    const platform = `${process.platform}-${process.arch}`;
    throw new EngineError('unsupported', `there is no RocksDB binary that runs on this ${platform} system: ${cure}`, {
      cause: error,
    });
  }
}

/** The binary is built for x86-64-v3; on an older processor it would end the process with an illegal instruction. */
function missingFeatures(): string[] {
  if (process.platform !== 'linux' || process.arch !== 'x64') return [];
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const flags = /^flags\s*:(.*)$/m.exec(info)?.[1]?.trim().split(' ');
  if (flags === undefined) return [];
  return ['avx2', 'bmi2', 'fma', 'movbe'].filter((flag) => !flags.includes(flag));
}

/** What a failure of RocksDB means; the binding sets `code` from the status. */
export function codeOf(error: unknown): EngineErrorCode {
  if (error instanceof EngineError) return error.code;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'LEVEL_LOCKED') return 'locked';
  if (code === 'LEVEL_CORRUPTION') return 'corruption';
  return 'io';
}
