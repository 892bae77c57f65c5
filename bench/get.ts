import { compareWithPeer, keyValueOptions } from './support/key_value.js';
import { readOptions } from './support/options.js';

/**
 * Linearizable gets: `npm run bench -- get --clients 256 --shards 64`. All keys are written first; `clients` gets are
 * outstanding at any time. With `--peer etcd` a three-member etcd serves the same gets, linearizable too, in alternating runs.
 */
export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, keyValueOptions);
  await compareWithPeer('get', options, (target, key) => target.get(key));
}
