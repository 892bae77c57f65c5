import type { StoreCommand } from '../../../src/gen/skerry/v1/placement.js';
import { OperatorController } from '../../../placement/operators/controller.js';
import { IdPool } from '../../../placement/operators/id_pool.js';
import type { Operator } from '../../../placement/operators/operator.js';
import type { FixedView } from './fixed_view.js';
import { fixedView } from './fixed_view.js';

/** A controller over a fixed view, and what it did. */
export interface Driven extends FixedView {
  readonly controller: OperatorController;
  readonly sent: readonly { readonly storeId: number; readonly command: StoreCommand }[];
  /** The kinds of the commands that were sent. */
  readonly sentKinds: readonly string[];
  readonly ended: readonly Operator[];
}

export function drive(fixed: FixedView): Driven {
  const sent: { readonly storeId: number; readonly command: StoreCommand }[] = [];
  const sentKinds: string[] = [];
  const ended: Operator[] = [];
  const ids = new IdPool((count) => ids.give(1_000, count));
  ids.top();
  const controller = new OperatorController({
    view: fixed.view,
    table: fixed.operators,
    ids,
    send: (storeId, command) => {
      sent.push({ storeId, command });
      sentKinds.push(command.command?.$case ?? '');
    },
    finished: (operator) => ended.push(operator),
  });
  return { ...fixed, controller, sent, sentKinds, ended };
}

/** Over four stores and two neighbouring shards on the same two of them. */
export function driveNeighbours(): Driven {
  const shard = { replicas: { 1: 'v', 2: 'v' } as const, leader: 1, bytes: 1 };
  return drive(fixedView({ stores: [{}, {}, {}, {}], shards: [shard, shard] }));
}
