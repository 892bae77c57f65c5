import type { Logger } from '../src/base/logger.js';
import { CachedEngine } from '../src/engine/cached_engine.js';
import type { Engine } from '../src/engine/engine.js';
import { isDataKey } from '../src/engine/keys.js';
import { openRocksdbDevEngine } from '../src/engine/rocksdb_dev_engine.js';
import { openRocksdbEngine } from '../src/engine/rocksdb_engine.js';
import type { StoreConfig } from './store_config.js';

/** Opens the engine that the configuration names, with a cache of users' values before it. @throws EngineError */
export async function openEngine(
  config: StoreConfig['engine'],
  path: string,
  logger: Logger,
  onFatal: (error: Error) => void,
): Promise<Engine> {
  const engine = await openUncached(config, path, logger, onFatal);
  return config.valueCacheBytes === 0
    ? engine
    : new CachedEngine(engine, { bytes: config.valueCacheBytes, keeps: isDataKey });
}

function openUncached(
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
