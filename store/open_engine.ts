import type { Logger } from '../src/base/logger.js';
import type { Engine } from '../src/engine/engine.js';
import { openRocksdbDevEngine } from '../src/engine/rocksdb_dev_engine.js';
import { openRocksdbEngine } from '../src/engine/rocksdb_engine.js';
import type { StoreConfig } from './store_config.js';

/** Opens the engine that the configuration names. @throws EngineError */
export function openEngine(
  config: StoreConfig['engine'],
  path: string,
  logger: Logger,
  onFatal: (error: Error) => void,
): Promise<Engine> {
  const { cacheBytes, compression, backgroundJobs, writeBufferBytes } = config;
  const options = {
    path,
    cacheBytes,
    compression,
    backgroundJobs,
    ...(writeBufferBytes === undefined ? {} : { writeBufferBytes }),
    onFatal,
  };
  if (config.kind === 'rocksdb') return openRocksdbEngine(options);
  logger.warn(
    { engine: config.kind },
    'this engine is for development: a full or failing disk loses what was acknowledged',
  );
  return openRocksdbDevEngine(options);
}
