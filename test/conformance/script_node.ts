import { Prng } from '../../src/base/prng.js';
import { must } from '../../src/base/assert.js';
import { eagerSendPolicy } from '../../src/raft/config.js';
import type { RaftConfig } from '../../src/raft/config.js';
import { decodeConfChange } from '../../src/raft/conf_change_codec.js';
import { EntryType } from '../../src/raft/message.js';
import type { Entry, HardState, Message, SnapshotMeta } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import type { ReadOnlyOption } from '../../src/raft/config.js';
import { ScriptStorage, ScriptStorageError } from './script_storage.js';

export const electionTick = 3;

/** What add-nodes says about a node. */
export interface NodeOptions {
  readonly bootstrap: SnapshotMeta | null;
  readonly inflight: number;
  readonly asyncStorageWrites: boolean;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly stepDownOnRemoval: boolean;
  readonly disableConfChangeValidation: boolean;
  readonly maxCommittedSizePerReady: number;
  readonly readOnlyOption: ReadOnlyOption;
}

/** One core with its storage, its queues of storage work, and its state machine (which keeps nothing). */
export class ScriptNode {
  readonly id: number;
  readonly core: RawNode;
  readonly storage: ScriptStorage;
  readonly async: boolean;
  readonly appendQueue: Message[] = [];
  readonly applyQueue: Message[] = [];
  /** Called for each entry before it is applied. */
  onApply: (entry: Entry) => void = () => undefined;

  constructor(id: number, o: NodeOptions) {
    this.id = id;
    this.async = o.asyncStorageWrites;
    this.storage = new ScriptStorage(o.bootstrap);
    const prng = new Prng(id);
    const config: RaftConfig = {
      id,
      electionTick,
      heartbeatTick: 1,
      maxSizePerMsg: Infinity,
      maxCommittedSizePerReady: o.maxCommittedSizePerReady,
      maxInflightMsgs: o.inflight,
      maxInflightBytes: Infinity,
      maxUncommittedEntriesSize: Infinity,
      applied: o.bootstrap?.index ?? 0,
      preVote: o.preVote,
      checkQuorum: o.checkQuorum,
      asyncStorageWrites: o.asyncStorageWrites,
      earlyVoteRequests: true,
      stepDownOnRemoval: o.stepDownOnRemoval,
      disableConfChangeValidation: o.disableConfChangeValidation,
      disableProposalForwarding: false,
      readOnlyOption: o.readOnlyOption,
      random: () => prng.random(),
      logger: null,
      sendPolicy: eagerSendPolicy,
    };
    this.core = new RawNode(config, this.storage);
  }

  persist(hardState: HardState | null, entries: readonly Entry[], snapshot: SnapshotMeta | null): void {
    if (hardState !== null) this.storage.setHardState(hardState);
    if (snapshot === null) {
      this.storage.append(entries);
      return;
    }
    if (entries.length > 0) throw new ScriptStorageError("can't apply snapshot and entries at the same time");
    this.storage.applySnapshot(snapshot);
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.onApply(entry);
      let confState = must(this.storage.history[this.storage.history.length - 1], 'history').confState;
      if (entry.type !== EntryType.EntryNormal) {
        confState = this.core.applyConfChange(must(decodeConfChange(entry.data), 'a membership change'));
      }
      this.storage.history.push({ index: entry.index, term: entry.term, confState });
    }
  }
}
