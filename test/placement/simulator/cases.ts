import { drain } from './cases/drain.js';
import { flappingStore } from './cases/flapping_store.js';
import { hotShard } from './cases/hot_shard.js';
import { newStore } from './cases/new_store.js';
import { rackLoss } from './cases/rack_loss.js';
import { skewedSizes } from './cases/skewed_sizes.js';
import type { SimCase } from './sim_case.js';

export const simCases: readonly SimCase[] = [newStore, drain, rackLoss, flappingStore, hotShard, skewedSizes];
