import type { OperatorRecord } from '../state/operator_records.js';
import { operatorRecordFormat } from '../state/operator_records.js';
import type { Operator, OperatorSource, OperatorState } from './operator.js';
import { isFinished } from './operator.js';
import type { Step } from './step.js';

/** The two clocks at one moment: an operator's times are monotonic, a record's are not of one process. */
export interface Clocks {
  readonly nowMs: number;
  readonly wallMs: number;
}

/** The operator for the log. It is JSON there: a split key is written in hexadecimal digits. */
export function toRecord(operator: Operator, { nowMs, wallMs }: Clocks): OperatorRecord {
  const { operatorId, plan, steps, currentStep, takingBack, state, reason, createdAtMs, finishedAtMs } = operator;
  const atWall = (ms: number): number => Math.max(1, Math.round(wallMs - (nowMs - ms)));
  return {
    format: operatorRecordFormat,
    operatorId,
    shardId: plan.shardId,
    kind: plan.kind,
    source: plan.source,
    planReason: plan.reason,
    steps: steps.map((step) =>
      step.kind === 'splitShard' ? { ...step, splitKey: step.splitKey.toString('hex') } : step,
    ),
    currentStep,
    state,
    reason,
    createdAtWallMs: atWall(createdAtMs),
    endedAtWallMs: isFinished(operator) ? atWall(finishedAtMs) : 0,
    ...(takingBack === null || isFinished(operator) ? {} : { takingBack }),
  };
}

/** The operator of a record, to be gone on with or looked at. Null: this version does not know what it is made of. */
export function fromRecord(record: OperatorRecord, { nowMs, wallMs }: Clocks): Operator | null {
  const steps = record.steps.flatMap((step) => fromStep(step) ?? []);
  if (record.format > operatorRecordFormat || steps.length !== record.steps.length) return null;
  // Wall clocks of two members may differ: nothing lies in the future.
  const since = (atWallMs: number): number => nowMs - Math.max(0, wallMs - atWallMs);
  const source = record.source as OperatorSource;
  return {
    operatorId: record.operatorId,
    plan: { shardId: record.shardId, kind: record.kind, source, steps, reason: record.planReason },
    steps,
    createdAtMs: since(record.createdAtWallMs),
    hold: null,
    state: record.state as OperatorState,
    currentStep: record.currentStep,
    stepStartedAtMs: nowMs,
    sentAtMs: -Infinity,
    sentToStoreId: 0,
    commandId: 0,
    // Whoever led before may have sent it.
    mergeSent: steps[record.currentStep]?.kind === 'mergeShards',
    takingBack: record.takingBack ?? null,
    finishedAtMs: record.endedAtWallMs === 0 ? 0 : since(record.endedAtWallMs),
    reason: record.reason,
  };
}

const stepKinds: Readonly<Record<Step['kind'], true>> = {
  addLearner: true,
  promoteLearner: true,
  enterJoint: true,
  leaveJoint: true,
  removePeer: true,
  transferLeader: true,
  splitShard: true,
  mergeShards: true,
};

/** Null: a kind of step that a later version added. */
function fromStep(step: unknown): Step | null {
  const known = step as Step | (Omit<Extract<Step, { kind: 'splitShard' }>, 'splitKey'> & { splitKey: string });
  if (!Object.hasOwn(stepKinds, known.kind)) return null;
  if (known.kind !== 'splitShard') return known;
  const { splitKey } = known;
  return { ...known, splitKey: typeof splitKey === 'string' ? Buffer.from(splitKey, 'hex') : splitKey };
}
