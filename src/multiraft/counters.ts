import type { MultiRaftStats } from './host.js';

/** What stats() reports, since the host was made. */
export class Counters {
  turns = 0;
  proposals = 0;
  entriesProposed = 0;
  entriesCommitted = 0;
  entriesApplied = 0;
  applyBatches = 0;
  readRounds = 0;
  reads = 0;
  readsByLease = 0;
  readsByRound = 0;
  electionsStarted = 0;
  snapshotsSent = 0;
  snapshotsReceived = 0;
  beatsSent = 0;
  compactions = 0;
  messagesDropped = 0;
  diskStalls = 0;
  handovers = 0;
  hibernations = 0;
  wakes = 0;

  snapshot(
    now: Pick<MultiRaftStats, 'groups' | 'leaders' | 'hibernating' | 'leaseStalls' | 'syncAgeMs' | 'diskStalled'>,
  ): MultiRaftStats {
    return {
      ...now,
      turns: this.turns,
      proposals: this.proposals,
      entriesProposed: this.entriesProposed,
      entriesCommitted: this.entriesCommitted,
      entriesApplied: this.entriesApplied,
      applyBatches: this.applyBatches,
      readRounds: this.readRounds,
      reads: this.reads,
      readsByLease: this.readsByLease,
      readsByRound: this.readsByRound,
      electionsStarted: this.electionsStarted,
      snapshotsSent: this.snapshotsSent,
      snapshotsReceived: this.snapshotsReceived,
      beatsSent: this.beatsSent,
      compactions: this.compactions,
      messagesDropped: this.messagesDropped,
      diskStalls: this.diskStalls,
      handovers: this.handovers,
      hibernations: this.hibernations,
      wakes: this.wakes,
    };
  }
}
