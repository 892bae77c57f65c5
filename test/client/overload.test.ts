import t from 'tap';
import type { SkerryError } from '../../src/client/errors.js';
import { overloadTriesMax, serviceTargetMs } from '../../src/client/limits.js';
import type { Operation } from '../../src/client/operation.js';
import { noKeys, WriteOperation } from '../../src/client/operation.js';
import { Router } from '../../src/client/router.js';
import { must } from '../../src/base/assert.js';
import { serverIsBusy } from '../../src/base/wire_errors.js';
import { Partitioning, ReplicaRole, ShardRoute } from '../../src/gen/skerry/v1/meta.js';
import { encodeErrorResult, encodeWriteResult, ResultKind } from '../../src/wire/kv_codec.js';

interface Sent {
  readonly router: Router;
  readonly operation: Operation;
}

/** Clients' routers and one store on a clock that the test turns: the store works its queue off, or refuses. */
class World {
  nowMs = 0;
  /** Taken in by the store and not worked on yet. */
  readonly queue: Sent[] = [];
  /** Operations sent, retries included; and those that were over by their turn. */
  sent = 0;
  inVain = 0;
  /** What operations came to: 'done' or the error's code. */
  readonly outcomes = new Map<string, number>();
  /** How long operations that were done took, in the order of their ends. */
  readonly tookMs: number[] = [];
  slowestMs = 0;
  lastError: SkerryError | null = null;
  private readonly routers: readonly Router[];
  private readonly gathered: Sent[] = [];
  private submitted = 0;

  constructor(clients = 1) {
    this.routers = Array.from({ length: clients }, () => this.newRouter());
  }

  private newRouter(): Router {
    const port = {
      send: (_storeId: number, operation: Operation): void => void this.gathered.push({ router, operation }),
      withdraw: (): void => undefined,
      lookUp: (): void => undefined,
      openSession: (): void => undefined,
      nextTurn: (fn: () => void): void => fn(),
    };
    const runtime = { nowMs: () => this.nowMs, random: () => 0.5 };
    const router = new Router(1, runtime, port, { inFlightOps: 4_096, inFlightBytes: 1e9, waitingOps: 65_536 });
    const replicas = [{ replicaId: 11, storeId: 1, role: ReplicaRole.VOTER }];
    const shard = {
      shardId: 1,
      keyspaceId: 1,
      partitioning: Partitioning.RANGE,
      epoch: { confVer: 1, version: 1 },
      replicas,
    };
    const bounds = { startKey: Buffer.alloc(0), endKey: Buffer.alloc(0), merge: undefined };
    router.applyRoutes([
      { ...ShardRoute.create(), shard: { ...shard, ...bounds }, leaderReplicaId: 11, leaderStoreId: 1, term: 1 },
    ]);
    router.sessionOpened(1);
    return router;
  }

  write(timeoutMs: number): void {
    const beganMs = this.nowMs;
    const ended = (outcome: string): void => {
      if (outcome === 'done') this.tookMs.push(this.nowMs - beganMs);
      this.outcomes.set(outcome, this.count(outcome) + 1);
      this.slowestMs = Math.max(this.slowestMs, this.nowMs - beganMs);
    };
    const init = {
      key: Buffer.from('k'),
      consistency: 0,
      deadlineMs: this.nowMs + timeoutMs,
      bytes: 10,
      reject: (error: SkerryError): void => {
        this.lastError = error;
        ended(error.code);
      },
    };
    const router = must(this.routers[this.submitted++ % this.routers.length], 'the next client');
    router.submit(new WriteOperation(init, noKeys, [], () => ended('done')));
  }

  count(outcome: string): number {
    return this.outcomes.get(outcome) ?? 0;
  }

  /** What was gathered in this turn is written to the store. */
  flush(): Sent[] {
    const gathered = this.gathered.splice(0);
    const written = gathered.filter(({ router, operation }) => router.prepare(operation, 1, this.nowMs));
    this.sent += written.length;
    return written;
  }

  /** A millisecond: the store takes in what was sent and serves so many, in order. */
  serve(count: number): void {
    this.queue.push(...this.flush());
    for (const { router, operation } of this.queue.splice(0, count)) {
      if (operation.done) this.inVain++;
      router.answered(operation, ResultKind.write, encodeWriteResult({ applied: true, current: null }));
    }
    this.pass();
  }

  /** A millisecond: the store refuses all that was sent. */
  refuse(limit: string, retryAfterMs: number): void {
    const body = encodeErrorResult(serverIsBusy(limit, retryAfterMs));
    for (const { router, operation } of this.flush()) router.answered(operation, ResultKind.error, body);
    this.pass();
  }

  pass(): void {
    this.nowMs++;
    for (const router of this.routers) router.advance();
  }
}

t.test(
  'at three times what a store serves it stays busy with operations in time, and the rest is refused early',
  async (t) => {
    const world = new World();
    const seconds = 12;
    for (let ms = 0; ms < seconds * 1_000; ms++) {
      for (let i = 0; i < 6; i++) world.write(2_000);
      world.serve(2);
      if (ms === 5_000) world.inVain = 0;
    }
    const done = world.count('done');
    t.ok(done >= 0.9 * 2_000 * seconds, `${done} of ${2_000 * seconds} possible`);
    t.equal(world.inVain, 0, 'once the client knows the rate nothing is served in vain');
    t.ok(world.count('CLIENT_OVERLOADED') >= 3_000 * seconds, 'most of the rest was refused by the client');
    t.ok(world.slowestMs <= 2_000 + 10);
  },
);

for (const [clients, servedPerMs] of [
  [1, 2],
  [4, 2],
  [4, 8],
  [8, 2],
] as const) {
  t.test(
    `${clients} clients that ask for three times what a store serves (${servedPerMs} a millisecond) leave no queue there that outlasts their time`,
    async (t) => {
      const world = new World(clients);
      const seconds = 6;
      for (let ms = 0; ms < seconds * 1_000; ms++) {
        for (let i = 0; i < 3 * servedPerMs; i++) world.write(2_000);
        world.serve(servedPerMs);
      }
      const possible = servedPerMs * 1_000 * seconds;
      t.ok(world.tookMs.length >= 0.9 * possible, `${world.tookMs.length} of ${possible} possible`);
      t.equal(world.inVain, 0, 'nothing was served for nobody');
      const late = world.tookMs.slice(-possible / 2).sort((a, b) => a - b);
      const p99 = must(late[Math.floor(late.length * 0.99)], 'the 99th percentile');
      t.ok(p99 < 1_000, `once the clients know the store, 99% take less than a second: ${p99} ms`);
    },
  );
}

t.test('without overload nothing is refused, also in a burst that takes long', async (t) => {
  const world = new World();
  for (let i = 0; i < 8_000; i++) world.write(10_000);
  for (let ms = 0; ms < 4_010; ms++) world.serve(2);
  t.same([...world.outcomes], [['done', 8_000]]);
  t.ok(world.slowestMs > serviceTargetMs);
});

t.test('what a store refuses is tried again a bounded number of times, and told with its hint', async (t) => {
  const world = new World();
  for (let ms = 0; ms < 10_000; ms++) {
    for (let i = 0; i < 3; i++) world.write(10_000);
    world.refuse('write_delay', 50);
  }
  t.ok(world.sent <= 3 * overloadTriesMax, `${world.sent} were sent for 30,000 operations`);
  t.same([...world.outcomes.keys()], ['SERVER_BUSY']);
  t.match(world.lastError, { retryable: true, details: { limit: 'write_delay', retryAfterMs: 50 } });
});

t.test('a state of a store that passes by itself is waited for', async (t) => {
  const world = new World();
  for (let i = 0; i < 2_000; i++) world.write(10_000);
  for (let ms = 0; ms < 3_000; ms++) world.refuse('shard_merging', 50);
  t.equal(world.outcomes.size, 0);
  for (let ms = 0; ms < 1_000; ms++) world.serve(100);
  t.same([...world.outcomes], [['done', 2_000]]);
});

t.test('refusals, of which there may be very many, carry no stack; the next error has one again', async (t) => {
  const world = new World();
  for (let ms = 0; ms < 1_000; ms++) {
    for (let i = 0; i < 6; i++) world.write(2_000);
    world.serve(2);
  }
  t.equal(world.lastError?.code, 'CLIENT_OVERLOADED');
  t.notMatch(world.lastError?.stack, /\n +at /);
  t.match(new Error('another').stack, /\n +at /);
});

t.test('an operation with less time than answers take is not sent', async (t) => {
  const world = new World();
  for (let ms = 0; ms < 3_000; ms++) {
    world.write(2_000);
    // Each is answered when it is some 300 ms old.
    world.serve(ms < 300 ? 0 : 1);
  }
  const { sent } = world;
  world.write(50);
  world.serve(0);
  t.equal(world.sent, sent);
  t.equal(world.lastError?.code, 'DEADLINE_EXCEEDED');
  t.match(world.lastError?.message, /^not sent: /);
});
