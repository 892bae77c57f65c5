import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { LocalCluster } from './local_cluster.js';

/**
 * Runs a command in a shell against the cluster. Its input and output are ours. @returns its exit code, as a shell
 * would report it
 */
export function runCommand(command: string, cluster: LocalCluster, aborted: AbortSignal): Promise<number> {
  const child = spawn(command, {
    shell: true,
    stdio: 'inherit',
    env: { ...process.env, SKERRY_PLACEMENT: cluster.placement },
  });
  const stop = (): void => void child.kill('SIGTERM');
  aborted.addEventListener('abort', stop, { once: true });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      aborted.removeEventListener('abort', stop);
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
