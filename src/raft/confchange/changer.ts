import { ConfChangeType } from '../conf_change.js';
import type { ConfChangeSingle } from '../conf_change.js';
import { checkConfState, isJoint, memberIds, sortedIds } from '../conf_state.js';
import type { ConfState } from '../message.js';

/*
 * Arithmetic of membership changes (thesis §4.1 to §4.3): configuration and operations in, configuration
 * out. Besides, for each member of the result, whether it was a member all along or is new, even if under an id
 * that was removed a moment ago: a leader must not believe of a new member what it knew of an old one.
 */

export type MemberFate = 'kept' | 'new';

export type ChangeError =
  'removedAllVoters' | 'simpleWhileJoint' | 'moreThanOneVoter' | 'alreadyJoint' | 'noVoters' | 'notJoint';

export type ChangeOutcome =
  | { readonly ok: true; readonly conf: ConfState; readonly fates: ReadonlyMap<number, MemberFate> }
  | { readonly ok: false; readonly error: ChangeError };

/** A configuration while operations are applied to its incoming side. */
interface Draft {
  readonly voters: Set<number>;
  readonly outgoing: readonly number[];
  readonly learners: Set<number>;
  readonly learnersNext: Set<number>;
  readonly fates: Map<number, MemberFate>;
}

/** Changes at most one voter, without a joint configuration. */
export function simpleChange(conf: ConfState, changes: readonly ConfChangeSingle[]): ChangeOutcome {
  if (isJoint(conf)) return { ok: false, error: 'simpleWhileJoint' };
  const draft = draftOf(conf, conf.votersOutgoing);
  for (const change of changes) applyOne(draft, change);
  if (draft.voters.size === 0) return { ok: false, error: 'removedAllVoters' };
  if (differences(conf.voters, draft.voters) > 1) return { ok: false, error: 'moreThanOneVoter' };
  return finish(draft, false);
}

/** Makes the current voters the outgoing half and applies the changes to the incoming one. */
export function enterJoint(conf: ConfState, autoLeave: boolean, changes: readonly ConfChangeSingle[]): ChangeOutcome {
  if (isJoint(conf)) return { ok: false, error: 'alreadyJoint' };
  if (conf.voters.length === 0) return { ok: false, error: 'noVoters' };
  const draft = draftOf(conf, conf.voters);
  for (const change of changes) applyOne(draft, change);
  if (draft.voters.size === 0) return { ok: false, error: 'removedAllVoters' };
  return finish(draft, autoLeave);
}

/** Drops the outgoing half. */
export function leaveJointChange(conf: ConfState): ChangeOutcome {
  if (!isJoint(conf)) return { ok: false, error: 'notJoint' };
  const draft = draftOf(conf, []);
  for (const id of draft.learnersNext) draft.learners.add(id);
  draft.learnersNext.clear();
  for (const id of conf.votersOutgoing) {
    if (!draft.voters.has(id) && !draft.learners.has(id)) draft.fates.delete(id);
  }
  return finish(draft, false);
}

function draftOf(conf: ConfState, outgoing: readonly number[]): Draft {
  return {
    voters: new Set(conf.voters),
    outgoing,
    learners: new Set(conf.learners),
    learnersNext: new Set(conf.learnersNext),
    fates: new Map(memberIds(conf).map((id) => [id, 'kept'])),
  };
}

function applyOne(draft: Draft, change: ConfChangeSingle): void {
  const id = change.replicaId;
  if (id === 0) return;
  switch (change.type) {
    case ConfChangeType.AddNode:
      if (!draft.fates.has(id)) draft.fates.set(id, 'new');
      withdraw(draft, id);
      draft.voters.add(id);
      return;
    case ConfChangeType.AddLearnerNode:
      addLearner(draft, id);
      return;
    case ConfChangeType.RemoveNode:
      withdraw(draft, id);
      if (!draft.outgoing.includes(id)) draft.fates.delete(id);
      return;
    case ConfChangeType.UpdateNode:
      return;
  }
}

/** An outgoing voter stays one until the joint configuration is left; it becomes a learner then. */
function addLearner(draft: Draft, id: number): void {
  if (draft.learners.has(id)) return;
  if (!draft.fates.has(id)) draft.fates.set(id, 'new');
  withdraw(draft, id);
  if (draft.outgoing.includes(id)) draft.learnersNext.add(id);
  else draft.learners.add(id);
}

/** Takes a replica out of every list of the incoming side. */
function withdraw(draft: Draft, id: number): void {
  draft.voters.delete(id);
  draft.learners.delete(id);
  draft.learnersNext.delete(id);
}

function differences(before: readonly number[], after: ReadonlySet<number>): number {
  const removed = before.filter((id) => !after.has(id)).length;
  const added = after.size - (before.length - removed);
  return removed + added;
}

function finish(draft: Draft, autoLeave: boolean): ChangeOutcome {
  const conf: ConfState = {
    voters: sortedIds(draft.voters),
    votersOutgoing: draft.outgoing,
    learners: sortedIds(draft.learners),
    learnersNext: sortedIds(draft.learnersNext),
    autoLeave,
  };
  checkConfState(conf);
  return { ok: true, conf, fates: draft.fates };
}
