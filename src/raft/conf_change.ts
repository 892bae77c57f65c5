/** Membership changes as they stand in entries. Raft thesis, chapter 4. */

export const ConfChangeType = Object.freeze({ AddNode: 0, RemoveNode: 1, UpdateNode: 2, AddLearnerNode: 3 } as const);
export type ConfChangeType = (typeof ConfChangeType)[keyof typeof ConfChangeType];

/** auto: one change goes the simple way, several go joint and leave by themselves. */
export const ConfChangeTransition = Object.freeze({ Auto: 0, JointImplicit: 1, JointExplicit: 2 } as const);
export type ConfChangeTransition = (typeof ConfChangeTransition)[keyof typeof ConfChangeTransition];

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly replicaId: number;
}

/** No changes: leave the joint configuration. `context` belongs to the application. */
export interface ConfChange {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  readonly context: Buffer;
}
