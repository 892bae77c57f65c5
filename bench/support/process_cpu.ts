import { existsSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** CPU seconds (user and system) that a process has used, from /proc; null where there is no /proc. */
export function cpuSeconds(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Fields after the command name, which may hold spaces: utime and stime are the 14th and 15th of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticksPerSecond = 100;
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  }
}

/** Resident bytes of a process, from /proc; NaN where there is no /proc, or no such process. */
export function rssBytes(pid: number): number {
  const file = `/proc/${pid}/status`;
  if (!existsSync(file)) return NaN;
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? NaN) * 1024;
}

const mainThread = `/proc/self/task/${process.pid}/schedstat`;

/** Milliseconds of CPU that the event loop's thread has used; of its busy time where there is no /proc. */
export function loopCpuMs(): number {
  if (!existsSync(mainThread)) return performance.eventLoopUtilization().active;
  return Number(readFileSync(mainThread, 'utf8').split(' ')[0]) / 1e6;
}

/** The machine's shape, for the head of a report. */
export function machineShape(): string {
  const list = cpus();
  return `${list.length} x ${list[0]?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, ${process.platform}`;
}
