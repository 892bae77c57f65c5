import type { ReplicaSurvey, StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import { surveysMax } from '../limits.js';
import type { HeldReplica } from './recovery_plan.js';

/** A question to several stores, and what came back so far. */
export interface Survey {
  readonly surveyId: number;
  readonly replicas: HeldReplica[];
  /** Stores whose answer is not complete. */
  readonly missing: Set<number>;
}

export interface ReplicaSurveysOptions {
  readonly send: (storeId: number, command: StoreCommand) => void;
  readonly newId: () => number;
  /** An answer came. */
  readonly answered: () => void;
}

/** Asks stores what they have of shards that may have lost their majority. */
export class ReplicaSurveys {
  private readonly options: ReplicaSurveysOptions;
  private readonly running = new Map<number, Survey>();

  constructor(options: ReplicaSurveysOptions) {
    this.options = options;
  }

  /** Null: too many run already. End it with end(). */
  begin(storeIds: readonly number[], deadStoreIds: readonly number[]): Survey | null {
    if (this.running.size >= surveysMax) return null;
    const surveyId = this.options.newId();
    const survey: Survey = { surveyId, replicas: [], missing: new Set(storeIds) };
    this.running.set(surveyId, survey);
    const value = { surveyId, deadStoreIds: [...deadStoreIds] };
    for (const storeId of storeIds) {
      this.options.send(storeId, { commandId: surveyId, command: { $case: 'surveyReplicas', value } });
    }
    return survey;
  }

  received(storeId: number, { surveyId, replicas, last }: ReplicaSurvey): void {
    const survey = this.running.get(surveyId);
    if (survey?.missing.has(storeId) !== true) return;
    for (const replica of replicas) survey.replicas.push({ storeId, replica });
    if (last) survey.missing.delete(storeId);
    this.options.answered();
  }

  end({ surveyId }: Survey): void {
    this.running.delete(surveyId);
  }
}
