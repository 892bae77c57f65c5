/** What stats() reports, since the host was made. */
export class Counters {
  turns = 0;
  proposals = 0;
  entriesProposed = 0;
  entriesApplied = 0;
  applyBatches = 0;
  readRounds = 0;
  reads = 0;
  electionsStarted = 0;
  snapshotsSent = 0;
  snapshotsReceived = 0;
  beatsSent = 0;
  compactions = 0;
  messagesDropped = 0;
}
