import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { stopGraceMs } from './limits.js';
import type { LocalCluster } from './local_cluster.js';

/**
 * Runs a command in a shell against the cluster. Its input and output are ours. @returns its exit code, as a shell
 * would report it
 */
export function runCommand(command: string, cluster: LocalCluster, aborted: AbortSignal): Promise<number> {
  // A group of its own lets us end all that the shell started. On a terminal it must stay in ours to read from it;
  // there Ctrl-C reaches all of it anyway.
  const ownGroup = !process.stdin.isTTY;
  const child = spawn(command, {
    shell: true,
    stdio: 'inherit',
    detached: ownGroup,
    env: { ...process.env, SKERRY_PLACEMENT: cluster.placement },
  });
  let timer: NodeJS.Timeout | null = null;
  const stop = (): void => {
    signalTo(child, ownGroup, 'SIGTERM');
    timer = setTimeout(() => signalTo(child, ownGroup, 'SIGKILL'), stopGraceMs);
  };
  aborted.addEventListener('abort', stop, { once: true });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      aborted.removeEventListener('abort', stop);
      if (timer !== null) clearTimeout(timer);
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

function signalTo(child: ChildProcess, group: boolean, signal: NodeJS.Signals): void {
  if (!group || child.pid === undefined) {
    child.kill(signal);
    return;
  }
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // ESRCH: all of it has ended already.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
