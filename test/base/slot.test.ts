import t from 'tap';
import {
  decodeKey,
  encodeKey,
  hashSplitKeys,
  inRange,
  partitioningHash,
  partitioningRange,
  rangesOverlap,
} from '../../src/base/encoded_key.js';
import { crc16, slotOf, tokenOf } from '../../src/base/slot.js';

t.test('crc16 is CRC-16/XMODEM: the check value of the Redis Cluster specification', async (t) => {
  t.equal(crc16(Buffer.from('123456789')), 0x31c3);
});

t.test('slots are those that Redis Cluster gives the same keys', async (t) => {
  // Values of CLUSTER KEYSLOT.
  t.equal(slotOf(Buffer.from('foo')), 12182);
  t.equal(slotOf(Buffer.from('bar')), 5061);
  t.equal(slotOf(Buffer.from('{user1000}.following')), slotOf(Buffer.from('user1000')));
  t.equal(slotOf(Buffer.from('foo{}{bar}')), crc16(Buffer.from('foo{}{bar}')) & 0x3fff, 'an empty tag does not count');
  t.equal(
    slotOf(Buffer.from('foo{{bar}}zap')),
    slotOf(Buffer.from('{bar')),
    'the tag ends at the first brace that closes',
  );
});

t.test('the token is the slot with the two left-over bits of the CRC below it', async (t) => {
  const keys = Array.from({ length: 1000 }, (_, i) => Buffer.from(`key-${i}`));
  const wrong = keys.filter((key) => tokenOf(key) >> 2 !== slotOf(key) || (tokenOf(key) & 3) !== crc16(key) >> 14);
  t.same(wrong.map(String), []);
});

t.test('encoded keys decode to the user key in both partitionings', async (t) => {
  const key = Buffer.from([0, 255, 7]);
  t.same(decodeKey(partitioningHash, encodeKey(partitioningHash, key)), key);
  t.equal(encodeKey(partitioningRange, key), key, 'a range key is not copied');
});

t.test('the split keys of a hash keyspace cover every token once and fall on whole slots', async (t) => {
  for (const shards of [1, 2, 3, 16, 1000, 16_384]) {
    const starts = hashSplitKeys(shards);
    t.equal(starts.length, shards);
    const later = starts.slice(1);
    const unordered = later.filter((start, i) => Buffer.compare(starts[i] ?? start, start) >= 0);
    t.same(unordered, [], `${shards} shards: each start is above the one before`);
    t.same(
      later.filter((start) => start.readUInt16BE(0) % 4 !== 0),
      [],
    );
  }
});

t.test('ranges: bounds are half open and an empty end is the end of the keyspace', async (t) => {
  const b = (text: string): Buffer => Buffer.from(text);
  t.ok(inRange(b('b'), b('b'), b('c')));
  t.notOk(inRange(b('c'), b('b'), b('c')));
  t.ok(inRange(b('zzz'), b('b'), b('')));
  t.notOk(rangesOverlap(b('a'), b('b'), b('b'), b('c')));
  t.ok(rangesOverlap(b('a'), b(''), b('y'), b('z')));
  t.ok(rangesOverlap(b(''), b(''), b('y'), b('z')));
});
