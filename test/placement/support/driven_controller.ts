import { OperatorController } from '../../../placement/operators/controller.js';
import { IdPool } from '../../../placement/operators/id_pool.js';
import type { FixedView } from './fixed_view.js';
import { fixedView } from './fixed_view.js';

export interface Driven extends FixedView {
  readonly controller: OperatorController;
  /** The kinds of the commands that were sent. */
  readonly sent: readonly string[];
}

/** A controller over four stores and two neighbouring shards on the same stores. */
export function driven(): Driven {
  const shard = { replicas: { 1: 'v', 2: 'v' } as const, leader: 1, bytes: 1 };
  const fixed = fixedView({ stores: [{}, {}, {}, {}], shards: [shard, shard] });
  const sent: string[] = [];
  const ids = new IdPool((count) => ids.give(1_000, count));
  ids.top();
  const controller = new OperatorController({
    view: fixed.view,
    table: fixed.operators,
    ids,
    send: (_storeId, { command }) => sent.push(command?.$case ?? ''),
    finished: () => undefined,
  });
  return { ...fixed, controller, sent };
}
