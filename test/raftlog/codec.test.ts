import fc from 'fast-check';
import t from 'tap';
import { silentLogger } from '../../src/base/logger.js';
import { Prng } from '../../src/base/prng.js';
import { crc32, entrySeed, tableCrc32 } from '../../src/raftlog/checksum.js';
import {
  decodeFrameFooter,
  decodeFrameHeader,
  decodeIdentity,
  decodeSegmentHeader,
  encodeFrameFooter,
  encodeFrameHeader,
  encodeIdentity,
  encodeSegmentHeader,
  frameHeaderBytes,
  framesOffset,
  parseSegmentName,
  segmentName,
  segmentSeed,
} from '../../src/raftlog/format.js';
import { LogBuffer } from '../../src/raftlog/log_buffer.js';
import type { DecodedState } from '../../src/raftlog/record_codec.js';
import {
  checkEntry,
  decodeRecords,
  putDroppedRecord,
  putEntry,
  putRecordHeader,
  putVarint,
  varintBytes,
} from '../../src/raftlog/record_codec.js';
import { Replay } from '../../src/raftlog/replay.js';
import { scanSegment } from '../../src/raftlog/segment_scan.js';
import { Segment } from '../../src/raftlog/segment.js';
import { SlotPool } from '../../src/raftlog/slot_pool.js';
import { entry } from './support.js';

const safe = fc.maxSafeNat();

void t.test('the table CRC is the native one', (t) => {
  const table = tableCrc32();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 2 ** 32 - 1 }), (bytes, seed) => {
      return table(bytes, seed) === crc32(bytes, seed);
    }),
  );
  t.equal(table(Buffer.from('123456789'), 0), 0xcbf43926);
  t.end();
});

void t.test('an entry is only accepted as what it was written as', (t) => {
  const out = new LogBuffer(1 << 20, 1 << 16);
  out.beginFrame(1024, 0);
  const e = { ...entry(2 ** 40 + 7, 2 ** 33 + 1, 'payload'), type: 1 as const };
  const at = putEntry(out, 9, e) - 1024;
  const bytes = Buffer.from(out.buffer.subarray(0, out.pos));
  t.same(checkEntry(bytes, at, 9, e.index, 7), e);
  t.equal(checkEntry(bytes, at, 10, e.index, 7), null, 'another group');
  t.equal(checkEntry(bytes, at, 9, e.index + 1, 7), null, 'another index');
  t.equal(checkEntry(bytes, at, 9, e.index, 6), null, 'another length');
  t.equal(checkEntry(bytes, at + 1, 9, e.index, 7), null, 'beyond the end');
  for (let i = 0; i < bytes.length; i++) {
    const flipped = Buffer.from(bytes);
    flipped[i] = (flipped[i] ?? 0) ^ 0x10;
    if (checkEntry(flipped, at, 9, e.index, 7) !== null) t.fail(`flip at ${i} passed`);
  }
  t.not(entrySeed(1, 2, 3, 0, 4), entrySeed(2, 1, 3, 0, 4));
  t.end();
});

void t.test('varints hold every number below 2^53', (t) => {
  fc.assert(
    fc.property(safe, (value) => {
      const b = Buffer.alloc(9);
      const end = putVarint(b, 0, value);
      const got: number[] = [];
      // A dropped record is flags and one varint.
      decodeRecords(Buffer.concat([Buffer.from([2]), b.subarray(0, end)]), 0, end + 1, {
        dropped: (groupId) => got.push(groupId),
        state: () => undefined,
        entry: () => undefined,
      });
      return end === varintBytes(value) && got[0] === value;
    }),
  );
  t.pass('one to eight bytes');
  t.end();
});

void t.test('records come out as they went in', (t) => {
  const state = fc.record({
    groupId: safe,
    hardState: fc.option(fc.record({ term: safe, vote: safe, commit: safe }), { nil: null }),
    baseIndex: fc.nat({ max: 2 ** 40 }),
    baseTerm: safe,
    damaged: fc.boolean(),
    length: fc.nat({ max: 1000 }),
    entries: fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }),
    term: safe,
  });
  fc.assert(
    fc.property(fc.array(state, { maxLength: 6 }), (states) => {
      const out = new LogBuffer(1 << 20, 1 << 16);
      out.beginFrame(0, 0);
      const expected: unknown[] = [];
      for (const s of states) {
        const { groupId, hardState, baseIndex, baseTerm, damaged } = s;
        const first = baseIndex + 1 + s.length;
        const lastIndex = baseIndex + s.length + s.entries.length;
        putRecordHeader(out, s, lastIndex, first, s.entries.length);
        expected.push({ groupId, hardState, baseIndex, baseTerm, damaged, lastIndex });
        for (const [i, data] of s.entries.entries()) {
          putEntry(out, groupId, { index: first + i, term: s.term, type: 0, data: Buffer.from(data) });
          expected.push([first + i, s.term, data.length]);
        }
        putDroppedRecord(out, groupId);
        expected.push(groupId);
      }
      const got: unknown[] = [];
      const good = decodeRecords(Buffer.concat(out.frameChunks()), 0, out.address, {
        dropped: (groupId) => got.push(groupId),
        state: ({ groupId, hasHardState, term, vote, commit, baseIndex, baseTerm, damaged, lastIndex }: DecodedState) =>
          got.push({
            groupId,
            hardState: hasHardState ? { term, vote, commit } : null,
            baseIndex,
            baseTerm,
            damaged,
            lastIndex,
          }),
        entry: (index, term, length) => got.push([index, term, length]),
      });
      t.same(got, expected);
      return good;
    }),
    { numRuns: 200 },
  );
  t.end();
});

void t.test('record bytes of any kind are decoded or refused, never out of bounds', (t) => {
  const prng = new Prng(7);
  let refused = 0;
  for (let n = 0; n < 20_000; n++) {
    const bytes = Buffer.alloc(prng.int(0, 80));
    for (let i = 0; i < bytes.length; i++) bytes[i] = prng.chance(0.5) ? prng.int(0, 3) : prng.int(0, 255);
    let entries = 0;
    const good = decodeRecords(bytes, 0, bytes.length, {
      dropped: () => undefined,
      state: (s) => {
        if (!Number.isSafeInteger(s.groupId)) t.fail('group id out of range');
      },
      entry: (_index, _term, length, position) => {
        entries++;
        if (position + length > bytes.length) t.fail('entry out of bounds');
      },
    });
    if (!good) refused++;
    if (entries > bytes.length) t.fail('more entries than bytes');
  }
  t.ok(refused > 1000 && refused < 20_000, `${refused} refused`);
  t.end();
});

void t.test('headers, footers and names come out as they went in, and damaged ones do not', (t) => {
  const logId = { high: 0xfedcba98, low: 0x76543210 };
  t.same(decodeIdentity(encodeIdentity(logId)), { version: 1, id: logId });
  const header = { logId, sequence: 2 ** 34, base: 2 ** 45, sizeBytes: 4096 };
  t.same(decodeSegmentHeader(encodeSegmentHeader(header)), { version: 1, header });
  const seed = segmentSeed(logId, 5);
  t.not(seed, segmentSeed(logId, 6));
  const frame = {
    sequence: 2 ** 33,
    firstSegment: 3,
    kind: 0 as const,
    recordsBytes: 17,
    tableBytes: 4,
    recordsCrc: 99,
  };
  const b = Buffer.alloc(frameHeaderBytes);
  encodeFrameHeader(b, frame, seed);
  t.same(decodeFrameHeader(b, 0, seed), frame);
  t.equal(decodeFrameHeader(b, 0, segmentSeed(logId, 6)), null, 'remains of another segment');
  const tail = Buffer.alloc(4 + 16, 3);
  encodeFrameFooter(tail, 80, 4, 12, seed);
  const whole = Buffer.concat([Buffer.alloc(60), tail]);
  t.same(decodeFrameFooter(whole, 80, 12, seed), { totalBytes: 80, table: Buffer.alloc(4, 3) });
  t.equal(decodeFrameFooter(whole, 80, 13, seed), null);
  for (let i = 60; i < 80; i++) {
    const flipped = Buffer.from(whole);
    flipped[i] = (flipped[i] ?? 0) ^ 1;
    if (decodeFrameFooter(flipped, 80, 12, seed) !== null) t.fail(`flip at ${i} passed`);
  }
  t.same(parseSegmentName(segmentName(12, 'log')), { sequence: 12, kind: 'log' });
  t.equal(parseSegmentName('12.log'), null);
  t.equal(parseSegmentName('identity'), null);
  t.end();
});

void t.test('a segment full of anything is scanned without a fault', (t) => {
  const prng = new Prng(11);
  const none = {
    slots: new SlotPool(),
    cachedEntry: () => null,
    loadEntries: () => Promise.resolve(),
    addLive: () => undefined,
    removeLive: () => undefined,
    moveAnchor: () => undefined,
  };
  const logId = { high: 1, low: 2 };
  for (let n = 0; n < 500; n++) {
    const segment = new Segment(1, 0, 4096, segmentSeed(logId, 1));
    const bytes = Buffer.alloc(4096);
    for (let i = framesOffset; i < bytes.length; i++) bytes[i] = prng.int(0, 255);
    // Headers that are good and claim anything.
    for (let at = framesOffset; at < 4000; at += 8 * prng.int(5, 40)) {
      encodeFrameHeader(
        bytes.subarray(at),
        {
          sequence: prng.int(1, 20),
          firstSegment: prng.int(0, 3),
          kind: prng.chance(0.2) ? 1 : 0,
          recordsBytes: prng.chance(0.1) ? 0xffff_ffff : prng.int(0, 200),
          tableBytes: prng.chance(0.1) ? 0xffff_ffff : prng.int(0, 20),
          recordsCrc: prng.chance(0.5) ? segment.seed : 1,
        },
        segment.seed,
      );
    }
    const scan = scanSegment(segment, bytes, new Replay(none, silentLogger, 1));
    if (scan.end < framesOffset || scan.end > bytes.length) t.fail(`end ${scan.end}`);
  }
  t.pass('500 segments');
  t.end();
});
