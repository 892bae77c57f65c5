import type { EngineBatch } from '../engine/engine.js';
import type { ApplyContext, DropReason } from './host.js';
import type { ProposedEntry } from './proposal_waiters.js';
import type { Proposals } from './proposals.js';

/** What becomes of a proposal once the batch is with the engine. */
interface Settlement {
  readonly proposals: Proposals;
  readonly entry: ProposedEntry;
  /** Null: dropped for this reason. */
  readonly results: readonly unknown[] | null;
  readonly reason: DropReason;
}

/** Values of the keys that the state machines asked for, as of the entries evaluated so far. */
export type Overlay = Map<string, Buffer | null>;

/** One evaluation of committed entries of many groups into one engine batch. */
export class ApplyPass implements ApplyContext {
  readonly batch: EngineBatch;
  private readonly overlay: Overlay | null;
  private readonly effects: (() => void)[] = [];
  private readonly settlements: Settlement[] = [];

  constructor(batch: EngineBatch, overlay: Overlay | null) {
    this.batch = overlay === null ? batch : new OverlayBatch(batch, overlay);
    this.overlay = overlay;
  }

  read(key: Buffer): Buffer | null {
    const value = this.overlay?.get(overlayKey(key));
    if (value === undefined) throw new Error('state machine reads a key that it did not ask for');
    return value;
  }

  after(effect: () => void): void {
    this.effects.push(effect);
  }

  settleApplied(proposals: Proposals, entry: ProposedEntry, results: readonly unknown[]): void {
    this.settlements.push({ proposals, entry, results, reason: 'rejected' });
  }

  settleDropped(proposals: Proposals, entry: ProposedEntry, reason: DropReason): void {
    this.settlements.push({ proposals, entry, results: null, reason });
  }

  /** Tells the proposers, in the order of the entries. Only after the batch was handed to the engine. */
  deliverOutcomes(): void {
    for (const { proposals, entry, results, reason } of this.settlements) {
      if (results === null) proposals.settleDropped(entry, reason);
      else proposals.settleApplied(entry, results);
    }
  }

  runEffects(): void {
    for (const effect of this.effects) effect();
  }
}

/** Keys are bytes; latin1 gives each byte string its own JavaScript string. */
export function overlayKey(key: Buffer): string {
  return key.toString('latin1');
}

/** Passes writes on and keeps the overlay's keys up to date, no others. */
class OverlayBatch implements EngineBatch {
  private readonly inner: EngineBatch;
  private readonly overlay: Overlay;

  constructor(inner: EngineBatch, overlay: Overlay) {
    this.inner = inner;
    this.overlay = overlay;
  }

  get count(): number {
    return this.inner.count;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  put(key: Buffer, value: Buffer): void {
    const name = overlayKey(key);
    if (this.overlay.has(name)) this.overlay.set(name, value);
    this.inner.put(key, value);
  }

  delete(key: Buffer): void {
    const name = overlayKey(key);
    if (this.overlay.has(name)) this.overlay.set(name, null);
    this.inner.delete(key);
  }

  deleteRange(start: Buffer, end: Buffer): void {
    for (const name of this.overlay.keys()) {
      const key = Buffer.from(name, 'latin1');
      if (key.compare(start) >= 0 && (end.length === 0 || key.compare(end) < 0)) this.overlay.set(name, null);
    }
    this.inner.deleteRange(start, end);
  }
}
