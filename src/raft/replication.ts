import { assert } from '../base/assert.js';
import { isMember } from './conf_state.js';
import type { Core, Leadership } from './core.js';
import { entriesBytes } from './log/entry_bytes.js';
import { MsgType } from './message.js';
import type { Progress } from './tracker/progress.js';

/* A leader's messages to its followers: appends, snapshots, heartbeats (Raft §5.3, §7). */

/**
 * Sends the next append to a member, if its window is open and, unless `evenIfEmpty`, there are entries for it. False:
 * nothing was sent.
 */
export function maybeSendAppend(core: Core, peer: Progress, evenIfEmpty: boolean): boolean {
  if (peer.isPaused() || peer.loading) return false;
  const { log, config } = core;
  const previous = peer.next - 1;
  const previousTerm = log.term(previous);
  if (previousTerm === null) return maybeSendSnapshot(core, peer);
  const last = log.lastIndex();
  const open = peer.state !== 'replicate' || !peer.inflights.full();
  if (!evenIfEmpty && (!open || peer.next > last)) return false;
  const entries = open ? log.slice(peer.next, last + 1, config.maxSizePerMsg) : [];
  if (entries === 'compacted') return maybeSendSnapshot(core, peer);
  if (entries === 'pending') {
    peer.loading = true;
    return false;
  }
  const m = core.message(MsgType.MsgApp, peer.id);
  m.index = previous;
  m.logTerm = previousTerm;
  m.entries = entries;
  m.commit = log.commit;
  m.context = peer.session;
  core.send(m);
  peer.sentEntries(entries.length, entriesBytes(entries));
  peer.sentCommit = log.commit;
  return true;
}

/** A follower needs entries that are compacted. Not while it is silent: the snapshot would only go to waste. */
function maybeSendSnapshot(core: Core, peer: Progress): boolean {
  if (!peer.recentActive) return false;
  const snapshot = core.log.snapshot();
  // A snapshot from before the member was added would be refused: wait for a newer one.
  if (snapshot === null || !isMember(snapshot.confState, peer.id)) return false;
  assert(snapshot.index > 0, 'raft: a snapshot has an index');
  peer.becomeSnapshot(snapshot.index);
  const m = core.message(MsgType.MsgSnap, peer.id);
  m.snapshot = snapshot;
  m.context = peer.session;
  core.send(m);
  core.config.logger?.info({ to: peer.id, index: snapshot.index }, 'raft: sending a snapshot');
  return true;
}

/** One append to everyone else whose window is open, empty if there is nothing to send. */
export function broadcastAppend(core: Core, leadership: Leadership): void {
  for (const peer of leadership.peers.all) if (peer.id !== core.id) maybeSendAppend(core, peer, true);
}

/** Everything that windows take, to everyone else. */
export function fillWindows(core: Core, leadership: Leadership): void {
  for (const peer of leadership.peers.all) if (peer.id !== core.id) fillWindow(core, peer);
}

export function fillWindow(core: Core, peer: Progress): void {
  while (maybeSendAppend(core, peer, false));
}

/**
 * A heartbeat to everyone else, with no more commit than what its receiver is known to have. It starts a read round when
 * somebody waits for one or a lease is to be renewed: each time a new one, since members that joined meanwhile count for new rounds only.
 */
export function broadcastHeartbeat(core: Core, leadership: Leadership): void {
  const { reads, peers } = leadership;
  const leaseBased = core.config.readOnlyOption === 'leaseBased';
  let context = 0;
  if (leaseBased || reads.hasWaiting) {
    reads.start(core.leaseStamp());
    if (leadership.ownTermCommitted) reads.enlist(core.log.commit);
    context = reads.round;
  }
  for (const peer of peers.all) {
    if (peer.id === core.id) continue;
    const m = core.message(MsgType.MsgHeartbeat, peer.id);
    m.commit = Math.min(peer.match, core.log.commit);
    m.context = context;
    core.send(m);
    // Not the maximum: what was sent before may be lost, and this is what the follower certainly gets to see next.
    peer.sentCommit = m.commit;
  }
}
