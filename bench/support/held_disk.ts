import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/**
 * Loaded into a store by `--import`: a disk whose writes and syncs do not end. SIGUSR2 has those of the event loop held
 * back, the next SIGUSR2 lets them go on, in their order. What holds is only what Node.js asks of its thread pool for the Raft log: the event loop goes on,
 * as it does above a disk that stalls. The engine's files, which a store writes without sync, are not concerned.
 */
type Call = () => void;

/** Standard output and standard error, where the log of the process goes, are no disk. */
const standardFdMax = 2;

if (isMainThread) {
  let held: Call[] | null = null;
  process.on('SIGUSR2', () => {
    const waiting = held;
    held = waiting === null ? [] : null;
    for (const call of waiting ?? []) call();
  });
  const holding = <A extends readonly unknown[]>(real: (fd: number, ...rest: A) => void) => {
    return (fd: number, ...rest: A): void => {
      if (held === null || fd <= standardFdMax) real(fd, ...rest);
      else held.push(() => real(fd, ...rest));
    };
  };
  Object.assign(fs, {
    write: holding(fs.write),
    writev: holding(fs.writev),
    fdatasync: holding(fs.fdatasync),
  });
  syncBuiltinESMExports();
}
