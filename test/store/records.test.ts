import fc from 'fast-check';
import t from 'tap';
import { ReplicaRecord, ReplicaState, SessionRecord } from '../../src/gen/skerry/v1/kv.js';
import {
  decodeReplicaRecord,
  decodeSessionRecord,
  encodeReplicaRecord,
  encodeSessionRecord,
  ReplicaRecordWriter,
} from '../../store/records.js';
import { testShard } from './machine_driver.js';

const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

t.test('a session’s row has every field of its message, in the bytes that generated code writes', async () => {
  const record = fc.record({
    ackedBelow: number,
    applied: fc.array(number, { maxLength: 5 }),
    lastIndex: number,
    refused: fc.array(number, { maxLength: 5 }),
    droppedBefore: fc.boolean(),
    part: fc.option(
      fc.record({
        boundary: fc.uint8Array({ minLength: 1, maxLength: 5 }).map((bytes) => Buffer.from(bytes)),
        fromBoundary: fc.boolean(),
        ackedBelow: number,
        mergedAt: number,
      }),
      { nil: undefined },
    ),
  });
  fc.assert(
    fc.property(record, (fields) => {
      const bytes = encodeSessionRecord(fields);
      if (!bytes.equals(SessionRecord.encode(fields).finish())) throw new Error('other bytes');
      // A field that is new in the message shows up here: the type has it, and the row must too.
      const again: SessionRecord = decodeSessionRecord(bytes);
      for (const key of Object.keys(SessionRecord.create()) as (keyof SessionRecord)[]) {
        if (JSON.stringify(again[key]) !== JSON.stringify(fields[key])) throw new Error(key);
      }
    }),
  );
});

t.test('a replica’s row is that of generated code at any position', async () => {
  const writer = new ReplicaRecordWriter(11, testShard());
  fc.assert(
    fc.property(number, number, (appliedIndex, appliedTerm) => {
      const record = { replicaId: 11, state: ReplicaState.NORMAL, shard: testShard(), appliedIndex, appliedTerm };
      const bytes = writer.encode(appliedIndex, appliedTerm);
      if (!bytes.equals(encodeReplicaRecord(record))) throw new Error('other bytes');
      if (decodeReplicaRecord(bytes).appliedIndex !== appliedIndex) throw new Error('other index');
    }),
  );
});

t.test('a record of another format version is refused', async (t) => {
  const bytes = Buffer.from(ReplicaRecord.encode(ReplicaRecord.fromPartial({ formatVersion: 9 })).finish());
  t.throws(() => decodeReplicaRecord(bytes), /format version 9; this version reads 1/);
});
