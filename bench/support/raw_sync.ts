import { closeSync, fdatasync, fstatSync, openSync, unlinkSync, write } from 'node:fs';
import { join } from 'node:path';

/** What the disk allows: writes of one block (4 KiB), each followed by fdatasync, for `ms` milliseconds. Syncs per second. */
export async function rawSyncsPerSecond(directory: string, ms: number, blockBytes = 4096): Promise<number> {
  const path = join(directory, 'raw-sync.bench');
  const fd = openSync(path, 'w');
  const block = Buffer.alloc(blockBytes, 7);
  const prefill = Math.max(64, Math.ceil((8 << 20) / blockBytes));
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
