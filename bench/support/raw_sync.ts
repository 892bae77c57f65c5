import { closeSync, fdatasync, fstatSync, openSync, unlinkSync, write } from 'node:fs';
import { join } from 'node:path';

/** What the disk allows: appends of one 4 KiB block, each followed by fdatasync, for `ms` milliseconds. Syncs per second. */
export async function rawSyncsPerSecond(directory: string, ms: number): Promise<number> {
  const path = join(directory, 'raw-sync.bench');
  const fd = openSync(path, 'w');
  const block = Buffer.alloc(4096, 7);
  const prefill = 2048;
  try {
    for (let i = 0; i < prefill; i++) await writeAt(fd, block, i * block.length);
    await syncFile(fd);
    if (fstatSync(fd).size !== prefill * block.length) throw new Error('short prefill');
    const start = performance.now();
    let syncs = 0;
    while (performance.now() - start < ms) {
      await writeAt(fd, block, (syncs % prefill) * block.length);
      await syncFile(fd);
      syncs++;
    }
    return syncs / ((performance.now() - start) / 1000);
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}

function writeAt(fd: number, block: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) =>
    write(fd, block, 0, block.length, position, (e) => (e ? reject(e) : resolve())),
  );
}

function syncFile(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, (e) => (e ? reject(e) : resolve())));
}
