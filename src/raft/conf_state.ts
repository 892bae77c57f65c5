import { assert } from '../base/assert.js';
import type { ConfState } from './message.js';

/* Questions about a configuration. A ConfState is immutable; its lists are ascending and free of duplicates. */

const noIds: readonly number[] = Object.freeze([]);

/** The configuration of a replica that knows no members yet. */
export const emptyConfState: ConfState = Object.freeze({
  voters: noIds,
  votersOutgoing: noIds,
  learners: noIds,
  learnersNext: noIds,
  autoLeave: false,
});

export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

/** A member of either half. */
export function isVoter(conf: ConfState, id: number): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id);
}

/** A voter of either half or a learner: whoever the leader sends entries to. */
export function isMember(conf: ConfState, id: number): boolean {
  return isVoter(conf, id) || conf.learners.includes(id);
}

/** Everyone whom isVoter knows, ascending. */
export function voterIds(conf: ConfState): readonly number[] {
  return isJoint(conf) ? sortedIds([...conf.voters, ...conf.votersOutgoing]) : conf.voters;
}

/** Everyone whom isMember knows, ascending. */
export function memberIds(conf: ConfState): readonly number[] {
  return sortedIds([...conf.voters, ...conf.votersOutgoing, ...conf.learners]);
}

/** Ascending, each id once. */
export function sortedIds(ids: Iterable<number>): readonly number[] {
  return [...new Set(ids)].sort((a, b) => a - b);
}

/** The same configuration with its lists in order; checked. One that is in order is returned as it is. */
export function normalConfState(conf: ConfState): ConfState {
  if ([conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext].every(isAscending)) {
    checkConfState(conf);
    return conf;
  }
  const normal: ConfState = {
    voters: sortedIds(conf.voters),
    votersOutgoing: sortedIds(conf.votersOutgoing),
    learners: sortedIds(conf.learners),
    learnersNext: sortedIds(conf.learnersNext),
    autoLeave: conf.autoLeave,
  };
  checkConfState(normal);
  return normal;
}

function isAscending(ids: readonly number[]): boolean {
  return ids.every((id, at) => at === 0 || id > (ids[at - 1] ?? 0));
}

/** Throws AssertionError for a configuration that no sequence of changes leads to. */
export function checkConfState(conf: ConfState): void {
  for (const id of conf.learners) assert(!isVoter(conf, id), 'raft: a learner is in neither half of the voters');
  for (const id of conf.learnersNext) {
    assert(conf.votersOutgoing.includes(id), 'raft: a learner to be is an outgoing voter');
    assert(!conf.voters.includes(id), 'raft: a learner to be is no incoming voter');
  }
  if (!isJoint(conf)) {
    assert(conf.learnersNext.length === 0, 'raft: learners to be only while joint');
    assert(!conf.autoLeave, 'raft: auto-leave only while joint');
  }
}
