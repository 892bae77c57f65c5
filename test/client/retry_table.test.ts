import fc from 'fast-check';
import t from 'tap';
import { backoffMs } from '../../src/client/backoff.js';
import { backoffFirstMs, backoffMaxMs } from '../../src/client/limits.js';
import { failureKindOf, retryTable, skerryErrorOf } from '../../src/client/retry_table.js';
import { Error as ErrorReply } from '../../src/gen/skerry/v1/error.js';

t.test('every typed error of the protocol has a row', async (t) => {
  // Field numbers of the oneof; an unknown one leaves the detail empty.
  for (let field = 2; field <= 19; field++) {
    const reply = ErrorReply.decode(
      Buffer.from([
        0x0a,
        0x01,
        0x78,
        ((field << 3) % 128) | 2 | (field >= 16 ? 128 : 0),
        ...(field >= 16 ? [field >> 4] : []),
        0,
      ]),
    );
    t.not(reply.detail, undefined, `field ${field} is a typed error`);
    t.equal(failureKindOf(reply), reply.detail?.$case);
    t.not(retryTable[failureKindOf(reply)], undefined);
  }
});

t.test('an error from a newer server is unknown, uncertain and final', async (t) => {
  const reply: ErrorReply = { message: 'news', detail: undefined };
  t.equal(failureKindOf(reply), 'unknown');
  t.same(retryTable.unknown, { action: 'fail', certain: false, code: 'INTERNAL' });
});

t.test('only failures that may hide an effect are uncertain', async (t) => {
  const uncertain = Object.entries(retryTable).flatMap(([kind, rule]) => (rule.certain ? [] : [kind]));
  t.same(uncertain.sort(), ['connectionLost', 'sessionExpired', 'undetermined', 'unknown']);
});

t.test('an uncertain failure never ends in a code that claims there was no effect', async (t) => {
  for (const [kind, rule] of Object.entries(retryTable)) {
    if (!rule.certain && rule.action === 'fail') t.match(rule.code, /^(UNDETERMINED|INTERNAL)$/, kind);
  }
});

t.test('a typed error keeps its facts for programs', async (t) => {
  const error = skerryErrorOf({
    message: 'key too large',
    detail: { $case: 'invalidArgument', value: { field: 'key', reason: 'KEY_TOO_LARGE' } },
  });
  t.equal(error.code, 'INVALID_ARGUMENT');
  t.equal(error.retryable, false);
  t.match(error.details, { kind: 'invalidArgument', reason: 'KEY_TOO_LARGE' });
});

t.test('delays grow, stay within their bounds, and respect a server that asks for more', async () => {
  fc.assert(
    fc.property(
      fc.nat(200),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.nat(5_000),
      (n, random, hint) => {
        const delay = backoffMs(n, random);
        const ceiling = Math.min(backoffMaxMs, backoffFirstMs * 2 ** n);
        const bounded = delay >= ceiling / 2 && delay <= ceiling;
        return bounded && backoffMs(n, random, hint) === Math.max(hint, delay);
      },
    ),
  );
});
