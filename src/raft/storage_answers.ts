import type { Handler } from './core.js';
import { stepOk } from './core.js';
import { entriesBytes } from './log/entry_bytes.js';
import { onApplied } from './membership.js';
import type { Message, SnapshotMeta } from './message.js';
import type { Core } from './core.js';

/* What the two storage threads report, in any role. */

/**
 * Entries, a snapshot or both are durable. A report from an earlier term is not believed about entries: they may have
 * been replaced since, and the entry at this index may look the same again without being written (ABA). The report of a later
 * write covers whatever is still unconfirmed.
 */
export const handleStored: Handler = (core, m) => {
  if (m.index !== 0 && m.term === core.term) core.log.unstable.stableTo(m.index, m.logTerm);
  if (m.snapshot !== null) snapshotStored(core, m.snapshot);
  return stepOk;
};

function snapshotStored(core: Core, snapshot: SnapshotMeta): void {
  core.log.unstable.stableSnapshotTo(snapshot.index);
  if (core.log.unstable.snapshot === null) core.supersededConf = null;
  // A snapshot that was written is also installed.
  if (snapshot.index > core.log.applied) core.log.appliedTo(snapshot.index, 0);
  onApplied(core);
}

export const handleApplied: Handler = (core: Core, m: Message) => {
  const last = m.entries[m.entries.length - 1];
  if (last === undefined) return stepOk;
  core.log.appliedTo(Math.max(last.index, core.log.applied), entriesBytes(m.entries));
  onApplied(core);
  return stepOk;
};
