import { Command } from 'commander';
import type { Operator } from '../gen/skerry/v1/admin.js';
import { OperatorState } from '../gen/skerry/v1/admin.js';
import { wholeNumber, withAdmin } from './context.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { printRows } from './output.js';

export interface OperatorView {
  readonly operatorId: number;
  readonly shardId: number;
  readonly kind: string;
  readonly state: string;
  readonly steps: readonly string[];
  readonly currentStep: number;
  readonly ageMs: number;
  readonly reason: string;
  readonly source: string;
  /** Null: it runs. */
  readonly endedAgeMs: number | null;
}

export function operatorView(operator: Operator): OperatorView {
  return {
    ...operator,
    state: nameOfValue(OperatorState, operator.state),
    endedAgeMs: operator.endedAgeMs ?? null,
  };
}

export const operatorColumns: readonly Column<OperatorView>[] = [
  { title: 'OPERATOR', value: (o) => o.operatorId },
  { title: 'SHARD', value: (o) => o.shardId },
  { title: 'KIND', value: (o) => o.kind },
  { title: 'STATE', value: (o) => o.state },
  { title: 'STEP', value: (o) => `${Math.min(o.currentStep + 1, o.steps.length)}/${o.steps.length}` },
  { title: 'AGE', value: (o) => `${(o.ageMs / 1000).toFixed(1)} s` },
  { title: 'BY', value: (o) => o.source },
  { title: 'STEPS', value: (o) => o.steps.join('; ') },
  { title: 'REASON', value: (o) => o.reason },
];

/** Of operators that ended: when, instead of the step at which they are. */
const historyColumns: readonly Column<OperatorView>[] = [
  ...operatorColumns.filter(({ title }) => title !== 'STEP' && title !== 'AGE'),
  { title: 'ENDED', value: (o) => `${((o.endedAgeMs ?? 0) / 1000).toFixed(1)} s ago` },
];

/** `skerry operator`. */
export function operatorCommand(): Command {
  const list = new Command('list')
    .description('list running operators')
    .option('--history', 'also those that ended')
    .action((flags: { history?: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const operators = await admin.listOperators(flags.history ?? false);
        await printRows(command, operators.map(operatorView), operatorColumns);
      }),
    );
  const history = new Command('history')
    .description('list the last operators that ended, of this and earlier placement leaders')
    .option('--shard <shard>', 'only those of this shard, or of a merge with it', wholeNumber(1))
    .action((flags: { shard?: number }, command: Command) =>
      withAdmin(command, async (admin) => {
        const operators = (await admin.listOperators(true, flags.shard ?? 0)).map(operatorView);
        const ended = operators.filter(({ endedAgeMs }) => endedAgeMs !== null);
        await printRows(command, ended, historyColumns);
      }),
    );
  const cancel = new Command('cancel')
    .description('stop an operator where it is; a merge that the stores have begun is taken back')
    .argument('<operator>', 'operator id', wholeNumber(1))
    .option('--no-wait', 'return before the stores have taken a merge back')
    .action((operatorId: number, flags: { wait: boolean }, command: Command) =>
      withAdmin(command, async (admin) => {
        const operator = await admin.cancelOperator(operatorId, flags.wait);
        await printRows(command, [operatorView(operator)], operatorColumns);
      }),
    );
  return new Command('operator')
    .description('list and cancel operators')
    .addCommand(list)
    .addCommand(history)
    .addCommand(cancel);
}
