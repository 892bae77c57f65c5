import type { ClusterView } from '../cluster_view.js';
import { distinctValues } from '../isolation.js';
import type { OperatorTable } from '../operators/operator_table.js';
import type { PlacementRules } from '../rules/placement_rules.js';
import { hasLabels, labelsText } from '../rules/placement_rules.js';
import type { ShardSizes } from '../shard_sizes.js';
import type { StoreLoads } from '../store_loads.js';

/** What a checker knows beside the shard, for the checks of one tick. */
export class CheckContext {
  readonly view: ClusterView;
  readonly loads: StoreLoads;
  readonly operators: OperatorTable;
  readonly sizes: ShardSizes;
  private readonly values = new Map<string, number>();

  constructor(view: ClusterView, loads: StoreLoads, operators: OperatorTable, sizes: ShardSizes) {
    this.view = view;
    this.loads = loads;
    this.operators = operators;
    this.sizes = sizes;
  }

  /** Values of the label that voters are kept apart by, among the stores that may take one. */
  spreadValues({ spread, votersOn }: PlacementRules): number {
    const key = `${spread}/${labelsText(votersOn)}`;
    let count = this.values.get(key);
    if (count === undefined) {
      const open = [...this.loads.values()].filter((l) => l.acceptsReplicas && hasLabels(l.store, votersOn));
      count = distinctValues(
        open.map((l) => l.store),
        spread,
      );
      this.values.set(key, count);
    }
    return count;
  }
}
