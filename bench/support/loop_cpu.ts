import { existsSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

const mainThread = `/proc/self/task/${process.pid}/schedstat`;

/** Milliseconds of CPU that the event loop's thread has used; of busy time where there is no /proc. */
export function loopMs(): number {
  if (!existsSync(mainThread)) return performance.eventLoopUtilization().active;
  return Number(readFileSync(mainThread, 'utf8').split(' ')[0]) / 1e6;
}
