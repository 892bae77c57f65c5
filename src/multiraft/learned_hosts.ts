import { learnedHostsMax } from './limits.js';

/** Hosts of replicas that a state machine does not know (yet), as their messages came from there. */
export class LearnedHosts {
  private readonly hosts = new Map<number, number>();

  /** 0: not learned. */
  of(replicaId: number): number {
    return this.hosts.get(replicaId) ?? 0;
  }

  learn(replicaId: number, hostId: number): void {
    if (this.hosts.get(replicaId) === hostId) return;
    if (this.hosts.size >= learnedHostsMax) this.hosts.clear();
    this.hosts.set(replicaId, hostId);
  }
}
