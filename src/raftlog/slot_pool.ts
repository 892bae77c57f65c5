import { assert, must } from '../base/assert.js';
import { smallInteger } from '../base/small_integer.js';

const blockShift = 4;
const slabShift = 14;
const slabBlocks = 1 << (slabShift - blockShift);
const slabMask = (1 << slabShift) - 1;
/** Slot numbers are small integers. */
const slotsMax = 2 ** 30;

/** Per slot: address, data length, term. */
const slotNumbers = 3;
const atLength = 1;
const atTerm = 2;

/** Slots of a block: few enough that an idle group wastes little, enough that a busy one takes one seldom. */
export const blockSlots = 1 << blockShift;

/**
 * The numbers of all entries of a log: where each lies, how long its data is, its term. Groups take them in blocks of a few
 * slots. They lie in typed arrays of their own, so that a million entries are nothing to the garbage collector, and a
 * group's index grows without being copied. What was taken once is kept for later: as much as the most entries needed.
 */
export class SlotPool {
  private readonly slabs: Float64Array[] = [];
  private readonly free: number[] = [];
  private blocks = 0;

  /** A block: its first slot's number. What its slots hold is of an earlier life. */
  take(): number {
    const free = this.free.pop();
    if (free !== undefined) return free;
    if (this.blocks === this.slabs.length * slabBlocks) {
      this.slabs.push(new Float64Array(slotNumbers << slabShift));
    }
    const slot = this.blocks++ << blockShift;
    assert(slot < slotsMax, 'entries of the log can be numbered');
    return slot;
  }

  give(block: number): void {
    this.free.push(block);
  }

  address(slot: number): number {
    return this.slab(slot)[(slot & slabMask) * slotNumbers] ?? 0;
  }

  length(slot: number): number {
    return smallInteger(this.slab(slot)[(slot & slabMask) * slotNumbers + atLength] ?? 0);
  }

  term(slot: number): number {
    return smallInteger(this.slab(slot)[(slot & slabMask) * slotNumbers + atTerm] ?? 0);
  }

  set(slot: number, address: number, length: number, term: number): void {
    const slab = this.slab(slot);
    const at = (slot & slabMask) * slotNumbers;
    slab[at] = address;
    slab[at + atLength] = length;
    slab[at + atTerm] = term;
  }

  /** Blocks that groups hold. */
  get heldBlocks(): number {
    return this.blocks - this.free.length;
  }

  private slab(slot: number): Float64Array {
    return must(this.slabs[slot >>> slabShift], 'slab');
  }
}
