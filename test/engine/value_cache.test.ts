import t from 'tap';
import { cacheBytesMin, cachedRangesMax } from '../../src/engine/limits.js';
import { ValueCache } from '../../src/engine/value_cache.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const value = Buffer.alloc(100, 7);

void t.test('past its bytes the cache lets the oldest entries go that nobody has read', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  for (let i = 0; i < 10_000; i++) cache.put(bytes(`key-${String(i)}`), value);
  t.ok(cache.bytes <= cacheBytesMin, 'bounded in bytes');
  t.ok(cache.size > 50, 'and full');
  t.ok(cache.size < 300);
  t.equal(cache.get(bytes('key-0')), undefined);
  t.same(cache.get(bytes('key-9999')), value);
  t.end();
});

void t.test('entries that are read stay while others pass through', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  cache.put(bytes('first'), value);
  cache.put(bytes('hot'), value);
  cache.put(bytes('warm'), Buffer.from('warm'));
  for (let i = 0; i < 10_000; i++) {
    cache.put(bytes(`key-${String(i)}`), value);
    if (i % 20 === 0) cache.get(bytes('hot'));
    if (i % 20 === 0) cache.get(bytes('warm'));
  }
  t.same(cache.get(bytes('hot')), value);
  t.same(cache.get(bytes('warm')), Buffer.from('warm'));
  t.end();
});

void t.test('a view that was handed out stays as it is when its entry is gone and its slab is used up', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  cache.put(bytes('a'), value);
  const view = cache.get(bytes('a'));
  for (let i = 0; i < 10_000; i++) cache.put(bytes(`key-${String(i)}`), Buffer.alloc(100, 9));
  t.same(view, value);
  t.end();
});

void t.test('an entry larger than entryBytesMax is not kept, nor is the value that it replaces', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  cache.put(bytes('a'), value);
  cache.put(bytes('a'), Buffer.alloc(cache.entryBytesMax));
  t.equal(cache.get(bytes('a')), undefined);
  t.end();
});

void t.test(
  'past cachedRangesMax deleted ranges the entries from before the oldest are not trusted, later ones are',
  (t) => {
    const cache = new ValueCache(cacheBytesMin);
    cache.put(bytes('before'), value);
    for (let i = 0; i <= cachedRangesMax; i++) cache.dropRange(bytes('x'), bytes('y'));
    t.equal(cache.get(bytes('before')), undefined, 'no range holds it, but nobody knows any more');
    cache.put(bytes('after'), value);
    for (let i = 0; i < cachedRangesMax; i++) cache.dropRange(bytes('x'), bytes('y'));
    t.same(cache.get(bytes('after')), value);
    t.end();
  },
);

void t.test('a deleted range hides what was in it and nothing else, and what is written later is seen', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  for (const name of ['a', 'b', 'c', 'd']) cache.put(bytes(name), value);
  cache.dropRange(bytes('b'), bytes('d'));
  t.same(cache.get(bytes('a')), value);
  t.equal(cache.get(bytes('b')), undefined);
  t.equal(cache.get(bytes('c')), undefined);
  t.same(cache.get(bytes('d')), value);
  cache.put(bytes('b'), Buffer.from('new'));
  t.same(cache.get(bytes('b')), Buffer.from('new'));
  cache.dropRange(bytes('c'), Buffer.alloc(0));
  t.equal(cache.get(bytes('d')), undefined, 'an empty end is the end of the data');
  t.end();
});

void t.test('a bucket that is full lets one entry go for the next; answers stay right', (t) => {
  const cache = new ValueCache(cacheBytesMin);
  const names = Array.from({ length: 20_000 }, (_, i) => `k${String(i)}`);
  for (const name of names) cache.put(bytes(name), null);
  let known = 0;
  let wrong = false;
  for (const name of names) {
    const found = cache.get(bytes(name));
    if (found === null) known++;
    else wrong ||= found !== undefined;
  }
  t.notOk(wrong, 'what is known is right');
  t.equal(known, cache.size, 'what the table counts is what it finds');
  t.ok(known > 100);
  t.end();
});
