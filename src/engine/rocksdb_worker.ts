import { parentPort, workerData } from 'node:worker_threads';
import { mkdirSync } from 'node:fs';
import { must } from '../base/assert.js';
import { codeOf, loadBinding } from './binding_loader.js';
import type { StorageOpened, StorageSettings } from './rocksdb_protocol.js';
import { openDatabase, Storage } from './storage.js';

/** The storage thread: opens the database, says how that went, then serves messages until it is told to close. */
const port = must(parentPort, 'the storage thread has a parent');
const settings = workerData as StorageSettings;

async function open(): Promise<Storage> {
  const binding = await loadBinding();
  mkdirSync(settings.path, { recursive: true });
  const db = await openDatabase(binding, settings);
  return new Storage(binding, db, settings.path, {
    send: (arenas) => port.postMessage(arenas, arenas),
    closed: () => port.close(),
  });
}

open().then(
  (storage) => {
    port.on('message', (arenas: ArrayBuffer[]) => storage.handleMessage(arenas));
    port.postMessage({ opened: true } satisfies StorageOpened);
  },
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ opened: false, code: codeOf(error), message } satisfies StorageOpened);
    port.close();
  },
);
