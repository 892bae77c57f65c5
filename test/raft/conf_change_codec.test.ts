import fc from 'fast-check';
import t from 'tap';
import { confChangesMax, decodeConfChange, encodeConfChange, leaveJoint } from '../../src/raft/conf_change_codec.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import { emptyBuffer } from '../../src/raft/message.js';

const anyChange = fc.record({
  transition: fc.constantFrom(...Object.values(ConfChangeTransition)),
  changes: fc.array(
    fc.record({
      type: fc.constantFrom(...Object.values(ConfChangeType)),
      replicaId: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    }),
    { maxLength: 8 },
  ),
  context: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
});

void t.test('a membership change comes back as it was', (t) => {
  fc.assert(
    fc.property(anyChange, (change) => {
      const decoded = decodeConfChange(encodeConfChange(change));
      return (
        decoded !== null &&
        decoded.transition === change.transition &&
        decoded.context.equals(change.context) &&
        JSON.stringify(decoded.changes) === JSON.stringify(change.changes)
      );
    }),
  );
  t.end();
});

void t.test('arbitrary bytes are a change or null, never a crash', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const decoded = decodeConfChange(Buffer.from(bytes));
      return decoded === null || decoded.changes.every((c) => Number.isSafeInteger(c.replicaId) && c.replicaId >= 0);
    }),
    { numRuns: 2000 },
  );
  t.equal(decodeConfChange(encodeConfChange({ ...leaveJoint, context: Buffer.from('x') }).subarray(0, 3)), null);
  t.end();
});

void t.test('leaving a joint configuration costs no bytes', (t) => {
  t.equal(encodeConfChange(leaveJoint).length, 0);
  t.strictSame(decodeConfChange(emptyBuffer), leaveJoint);
  t.end();
});

void t.test('an entry holds no more than confChangesMax changes', (t) => {
  const change = { type: ConfChangeType.AddNode, replicaId: 1 };
  const changes = (n: number): (typeof change)[] => new Array<typeof change>(n).fill(change);
  t.equal(
    decodeConfChange(encodeConfChange({ ...leaveJoint, changes: changes(confChangesMax) }))?.changes.length,
    confChangesMax,
  );
  t.throws(() => encodeConfChange({ ...leaveJoint, changes: changes(confChangesMax + 1) }), RangeError);
  t.end();
});
