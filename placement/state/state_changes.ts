/** Ids of the rows that commands touched since they were last taken. */
export interface StateChanges {
  meta: boolean;
  readonly stores: Set<number>;
  readonly keyspaces: Set<number>;
  readonly shards: Set<number>;
  readonly targets: Set<number>;
  /** Keys of the metadata table. */
  readonly metadata: Set<string>;
  /** Ids of shards that are being recovered, or were. */
  readonly recoveries: Set<number>;
  /** Ids of placement members. */
  readonly members: Set<number>;
  /** Ids of operators, running or ended. */
  readonly operators: Set<number>;
  /** Ids of shards whose replicas were found to differ, or to be equal again. */
  readonly findings: Set<number>;
}

export function noChanges(): StateChanges {
  return {
    meta: false,
    stores: new Set(),
    keyspaces: new Set(),
    shards: new Set(),
    targets: new Set(),
    metadata: new Set(),
    recoveries: new Set(),
    members: new Set(),
    operators: new Set(),
    findings: new Set(),
  };
}
