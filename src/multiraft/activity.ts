/** Since when a group has applied nothing, as seen at checks. */
export class Activity {
  private applied = -1;
  private sinceMs = 0;

  /** Notes the position of this check; milliseconds since the check that first saw it. */
  idleForMs(applied: number, nowMs: number): number {
    if (applied !== this.applied) {
      this.applied = applied;
      this.sinceMs = nowMs;
    }
    return nowMs - this.sinceMs;
  }
}
