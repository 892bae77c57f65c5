import { elections } from './elections.js';
import { flowControl } from './flow_control.js';
import { membership } from './membership.js';
import type { Mutant } from './mutant.js';
import { reads } from './reads.js';
import { replication } from './replication.js';
import { storage } from './storage.js';
import { transfer } from './transfer.js';

/** Every mutant, in the order in which they are run. */
export const mutants: readonly Mutant[] = [
  ...elections,
  ...replication,
  ...flowControl,
  ...reads,
  ...transfer,
  ...membership,
  ...storage,
];
