import t from 'tap';
import { frameBytesMax } from '../../src/base/limits.js';
import { outboxMessagesMax } from '../../src/transport/limits.js';
import { Outbox } from '../../src/transport/outbox.js';
import { BeatSleep } from '../../src/wire/beat_codec.js';
import { decodeEnvelope, type Envelope } from '../../src/wire/index.js';
import { appendMessage } from './support.js';

function take(outbox: Outbox): Envelope {
  const frame = outbox.takeFrame();
  if (frame === null) throw new Error('nothing waits');
  return decodeEnvelope(frame);
}

const row = { groupId: 1, from: 2, to: 3, term: 4, commit: 5, context: 6, sleep: BeatSleep.none };

t.test('an empty outbox has no frame', (t) => {
  t.equal(new Outbox().takeFrame(), null);
  t.end();
});

t.test('what gathers leaves in one frame, and the next one begins empty', (t) => {
  const outbox = new Outbox();
  t.ok(outbox.addMessage(1, appendMessage(1)));
  t.ok(outbox.addForward({ id: 2, payload: Buffer.from('x') }));
  t.ok(outbox.addForwardResponse({ id: 3, payload: Buffer.from('y') }));
  t.ok(outbox.addSnapshotOffer(4));
  t.ok(outbox.addGone({ groupId: 5, replicaId: 6, confVer: 7, version: 8 }));
  t.ok(outbox.addBeat({ sequence: 9, syncAgeMs: 1, heartbeats: [row], responses: [] }));
  t.match(take(outbox), {
    messages: [{ groupId: 1 }],
    forwards: [{ id: 2 }],
    forwardResponses: [{ id: 3 }],
    snapshotOffers: [4],
    gone: [{ groupId: 5 }],
    beat: { sequence: 9 },
  });
  t.ok(outbox.isEmpty());
  t.equal(outbox.takeFrame(), null);
  t.end();
});

t.test('beats that wait together become one, with all rows and the newer sequence', (t) => {
  const outbox = new Outbox();
  outbox.addBeat({ sequence: 1, syncAgeMs: 10, heartbeats: [row], responses: [] });
  outbox.addBeat({ sequence: 2, syncAgeMs: 20, heartbeats: [{ ...row, groupId: 7 }], responses: [row] });
  t.same(take(outbox).beat, {
    sequence: 2,
    syncAgeMs: 20,
    heartbeats: [row, { ...row, groupId: 7 }],
    responses: [row],
  });
  t.end();
});

t.test('past the limit on messages nothing is taken until a frame leaves', (t) => {
  const outbox = new Outbox({ bytesMax: 1_000_000, messagesMax: 3, envelopeBytesMax: 1_000_000 });
  for (let i = 1; i <= 3; i++) t.ok(outbox.addMessage(1, appendMessage(i)));
  t.notOk(outbox.addMessage(1, appendMessage(4)));
  t.notOk(outbox.addBeat({ sequence: 1, syncAgeMs: 1, heartbeats: [], responses: [] }));
  t.equal(take(outbox).messages.length, 3);
  t.ok(outbox.addMessage(1, appendMessage(5)));
  t.end();
});

t.test('rows of beats count as messages', (t) => {
  const outbox = new Outbox({ bytesMax: 1_000_000, messagesMax: 3, envelopeBytesMax: 1_000_000 });
  t.notOk(outbox.addBeat({ sequence: 1, syncAgeMs: 1, heartbeats: [row, row], responses: [row] }));
  t.ok(outbox.addBeat({ sequence: 1, syncAgeMs: 1, heartbeats: [row], responses: [row] }));
  t.end();
});

t.test('past the limit on bytes nothing is taken until a frame leaves', (t) => {
  const outbox = new Outbox({ bytesMax: 1_000, messagesMax: 100, envelopeBytesMax: 1_000 });
  t.ok(outbox.addMessage(1, appendMessage(1, Buffer.alloc(600))));
  t.notOk(outbox.addMessage(1, appendMessage(2, Buffer.alloc(600))));
  take(outbox);
  t.ok(outbox.addMessage(1, appendMessage(3, Buffer.alloc(600))));
  t.end();
});

t.test('a full envelope is followed by another, in order', (t) => {
  const outbox = new Outbox({ bytesMax: 100_000, messagesMax: 100, envelopeBytesMax: 1_000 });
  for (let i = 1; i <= 5; i++) t.ok(outbox.addMessage(1, appendMessage(i, Buffer.alloc(400))));
  const indexes: number[][] = [];
  while (!outbox.isEmpty()) indexes.push(take(outbox).messages.map(({ message }) => message.index));
  t.same(indexes, [[1, 2], [3, 4], [5]]);
  t.end();
});

t.test('a message that fits no frame is refused, the largest that does is sent', (t) => {
  const outbox = new Outbox();
  t.notOk(outbox.addMessage(1, appendMessage(1, Buffer.alloc(frameBytesMax))));
  t.ok(outbox.addMessage(1, appendMessage(1, Buffer.alloc(frameBytesMax - 2048))));
  t.ok((outbox.takeFrame()?.length ?? 0) < frameBytesMax);
  t.end();
});

t.test('clearing drops everything and says how much that was', (t) => {
  const outbox = new Outbox({ bytesMax: 100_000, messagesMax: 100, envelopeBytesMax: 500 });
  for (let i = 1; i <= 5; i++) outbox.addMessage(1, appendMessage(i, Buffer.alloc(400)));
  t.equal(outbox.clear(), 5);
  t.ok(outbox.isEmpty());
  t.equal(outbox.takeFrame(), null);
  t.end();
});

t.test('the default limit on messages holds', (t) => {
  const outbox = new Outbox();
  const message = appendMessage(1);
  let taken = 0;
  while (outbox.addMessage(1, message)) taken++;
  t.equal(taken, outboxMessagesMax);
  t.end();
});
