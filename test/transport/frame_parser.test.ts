import fc from 'fast-check';
import t from 'tap';
import { frameBytesMax } from '../../src/base/limits.js';
import {
  decodePreamble,
  encodeFrameHead,
  encodePreamble,
  FramingError,
  frameHeadBytes,
  preambleBytes,
  recognize,
  type FrameKind,
  type StreamKind,
} from '../../src/transport/frame_format.js';
import { FrameParser } from '../../src/transport/frame_parser.js';
import { firstFrameBytesMax } from '../../src/transport/limits.js';
import { frame } from './raw.js';

/** What came out of a parser. */
class Taken {
  readonly streams: StreamKind[] = [];
  readonly frames: { kind: FrameKind; payload: string }[] = [];
  readonly parser = new FrameParser({
    preamble: (stream) => this.streams.push(stream),
    frame: (kind, payload) => this.frames.push({ kind, payload: payload.toString('hex') }),
  });
}

/** Cuts bytes at the given fractions of their length. */
function cut(bytes: Buffer, fractions: readonly number[]): Buffer[] {
  const ends = fractions.map((fraction) => Math.floor(fraction * bytes.length)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
}

const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });
const kinds = fc.constantFrom<FrameKind>('data', 'alive', 'refusal');

t.test('frames come out as they went in, wherever the reads begin and end', async () => {
  const frames = fc.array(fc.record({ kind: kinds, payload: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 12 });
  fc.assert(
    fc.property(fc.constantFrom<StreamKind>('exchange', 'snapshot'), frames, fractions, (stream, sent, ends) => {
      const parts = sent.map(({ kind, payload }) => frame(Buffer.from(payload), kind));
      const taken = new Taken();
      for (const chunk of cut(Buffer.concat([encodePreamble(stream), ...parts]), ends)) taken.parser.push(chunk);
      const expected = sent.map(({ kind, payload }) => ({ kind, payload: Buffer.from(payload).toString('hex') }));
      return (
        taken.streams.join() === stream &&
        JSON.stringify(taken.frames) === JSON.stringify(expected) &&
        taken.parser.isBetweenFrames()
      );
    }),
    { numRuns: 500 },
  );
});

t.test('a connection that ends early ends inside something, unless it is after a frame', async (t) => {
  const whole = Buffer.concat([encodePreamble('exchange'), frame(Buffer.from('first')), frame(Buffer.from('second'))]);
  const ends = new Set([preambleBytes, preambleBytes + frameHeadBytes + 5, whole.length]);
  for (let length = 0; length <= whole.length; length++) {
    const taken = new Taken();
    taken.parser.push(whole.subarray(0, length));
    t.equal(taken.parser.isBetweenFrames(), ends.has(length), `after ${length} bytes`);
  }
});

t.test('arbitrary bytes are frames or a FramingError, never anything else', async () => {
  const bytes = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array));
  const begun = fc.boolean();
  fc.assert(
    fc.property(bytes, begun, fractions, (garbage, withPreamble, ends) => {
      const taken = new Taken();
      const all = withPreamble ? Buffer.concat([encodePreamble('exchange'), garbage]) : garbage;
      try {
        for (const chunk of cut(all, ends)) taken.parser.push(chunk);
      } catch (error) {
        return error instanceof FramingError;
      }
      const told = taken.frames.reduce((sum, { payload }) => sum + frameHeadBytes + payload.length / 2, 0);
      return told <= garbage.length;
    }),
    { numRuns: 1_000 },
  );
});

t.test('a frame past its limit is an error, and the first one has a smaller limit', async (t) => {
  const limits: [string, Buffer[], number][] = [
    ['the first frame', [], firstFrameBytesMax],
    ['after an empty frame that only says that the other end lives', [encodeFrameHead('alive', 0)], firstFrameBytesMax],
    ['after the first frame', [frame(Buffer.from('hello'))], frameBytesMax],
  ];
  for (const [title, before, limit] of limits) {
    for (const excess of [0, 1]) {
      const { parser } = new Taken();
      parser.push(Buffer.concat([encodePreamble('exchange'), ...before]));
      const head = encodeFrameHead('data', limit + excess);
      if (excess === 0) t.doesNotThrow(() => parser.push(head), title);
      else t.throws(() => parser.push(head), { name: 'FramingError', message: /passes the limit/ }, title);
    }
  }
});

t.test('a frame within one read is not copied, one over several is put together once', async (t) => {
  const frames: Buffer[] = [];
  const parser = new FrameParser({ preamble: () => undefined, frame: (_kind, payload) => frames.push(payload) });
  parser.push(encodePreamble('exchange'));
  const chunk = frame(Buffer.from('whole'));
  parser.push(chunk);
  const other = frame(Buffer.from('in two parts'));
  parser.push(other.subarray(0, 9));
  parser.push(other.subarray(9));
  chunk.fill('x');
  other.fill('x');
  t.same(frames.map(String), ['xxxxx', 'in two parts']);
});

t.test('a host is told from a client by as few bytes as it takes', async (t) => {
  const preamble = encodePreamble('snapshot');
  for (let length = 0; length < preambleBytes; length++) t.equal(recognize(preamble.subarray(0, length)), 'undecided');
  t.equal(recognize(preamble), 'frames');
  t.equal(decodePreamble(preamble), 'snapshot');
  for (const text of ['P', 'PRI * HTTP/2.0', 'GET / HTTP/1.1', 'SET a b', 'SKERRz', '\x16\x03\x01']) {
    t.equal(recognize(Buffer.from(text, 'latin1')), 'other', text);
  }
});

t.test('the bytes around frames are these', async (t) => {
  t.equal(encodePreamble('exchange').toString('hex'), '534b455252590101');
  t.equal(encodePreamble('snapshot').toString('hex'), '534b455252590102');
  t.equal(frame(Buffer.from('ab')).toString('hex'), '00000000026162');
  t.equal(encodeFrameHead('alive', 0).toString('hex'), '0100000000');
  t.equal(frame(Buffer.from('no'), 'refusal').toString('hex'), '02000000026e6f');
});
