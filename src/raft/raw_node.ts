import type { RaftConfig } from './config.js';
import type { ConfChange } from './conf_change.js';
import type { ConfState, Message } from './message.js';
import type { ConfChangeRefusal, ProposeResult, RaftStatus, Ready, Role, StepResult } from './ready.js';
import type { RaftStorage } from './storage.js';

/** Signatures only: bodies follow. */
export declare class RawNode {
  constructor(config: RaftConfig, storage: RaftStorage);
  get id(): number;
  get role(): Role;
  get term(): number;
  get leaderId(): number;
  get commit(): number;
  get applied(): number;
  get confState(): ConfState;
  get lastIndex(): number;
  tick(): void;
  campaign(): void;
  forgetLeader(): void;
  transferLeader(to: number): void;
  propose(data: Buffer): ProposeResult;
  proposeConfChange(cc: ConfChange, form?: 'v1' | 'v2'): ProposeResult;
  /** Null: it would be taken. Otherwise a leader would put an empty entry in its place. */
  confChangeRefusal(cc: ConfChange): ConfChangeRefusal | null;
  step(m: Message): StepResult;
  readIndex(context: number): void;
  applyConfChange(cc: ConfChange): ConfState;
  reportUnreachable(id: number): void;
  reportSnapshot(id: number, ok: boolean): void;
  entriesLoaded(): void;
  /** Forget the read lease (event-loop stall, split, merge); the next round renews it. */
  voidLease(): void;
  hasReady(): boolean;
  ready(): Ready;
  advance(): void;
  status(): RaftStatus;
  /** Tests: the election timeout in ticks until the next role change. */
  overrideElectionTimeout(ticks: number): void;
}
