import { memberIds } from '../raft/conf_state.js';
import type { ConfState, Message } from '../raft/message.js';

/**
 * Says of one replica whether it hibernates: leaves the set of those that tick (DESIGN section 4).
 *
 *     leader: unused for hibernateAfterTicks, everything applied everywhere ─▶ asks in its heartbeats
 *     followers: everything applied ─▶ sleep, and say so in their answers
 *     leader: all others said so ─▶ sleeps
 *
 *     leader wakes (a request, a message, a follower's host lost) ─▶ a heartbeat at once, which wakes the followers
 *     follower wakes (a request, a message of another, its leader's host lost) ─▶ an answer to the leader, which wakes it
 *
 * While it sleeps a follower takes the life of its leader's host for its leader's (host_liveness.ts). Nothing about safety rests on
 * that: a leader that sleeps has no lease, so its reads take a round and its proposals a majority, and it wakes to CheckQuorum
 * when the host of any member is lost. Messages may be lost: a heartbeat that does not ask for sleep, and comes with every
 * interval, wakes; a follower that wrongly sleeps on is woken by it, one that wrongly stays awake campaigns in vain, by PreVote,
 * and wakes its leader with that.
 */
export class Hibernation {
  asleep = false;
  /** The latest heartbeat in the mailbox, if it asks for sleep. */
  asked: Message | null = null;
  /** As a leader: members that said that they sleep, since this replica asked; null: none. */
  private sleepers: Set<number> | null = null;

  /** A member answered a heartbeat. */
  answered(from: number, asleep: boolean): void {
    if (asleep) (this.sleepers ??= new Set()).add(from);
    else this.sleepers?.delete(from);
  }

  /** The group is in use: whoever slept has been or will be woken. */
  interrupt(): void {
    this.asked = null;
    this.sleepers = null;
  }

  /** True when every other member said that it sleeps. */
  othersSleep(confState: ConfState, self: number): boolean {
    const { sleepers } = this;
    if (sleepers === null && confState.voters.length > 1) return false;
    return memberIds(confState).every((id) => id === self || sleepers?.has(id) === true);
  }
}
