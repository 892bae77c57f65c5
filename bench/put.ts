import { compareWithPeer, keyValueOptions } from './support/key_value.js';
import { readOptions } from './support/options.js';

/**
 * Durable puts: `npm run bench -- put --clients 256 --shards 64 --value 256`. Three stores, one placement member and
 * this client share the machine. `clients` puts are outstanding at any time; each is acknowledged once it is synced on a majority.
 * With `--peer etcd` a three-member etcd takes the same puts in alternating runs.
 */
export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, keyValueOptions);
  await compareWithPeer('put', options, (target, key, value) => target.put(key, value));
}
