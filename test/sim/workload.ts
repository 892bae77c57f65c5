import { Prng } from '../../src/base/prng.js';
import { SkerryClient, SkerryError } from '../../src/client/index.js';
import type { Answer, Call } from '../linearizability/history.js';
import { HistoryRecorder } from '../linearizability/history.js';
import { VirtualRuntime } from '../support/virtual_runtime.js';
import type { Surroundings } from './machine.js';
import type { Plan } from './plan.js';

export const keyspaceName = 'sim';
const operationTimeoutMs = 4_000;
/** Between two operations of one lane of a client, in ms, at most. */
const pauseMs = 400;

export interface WorkloadCounts {
  answered: number;
  open: number;
  refused: number;
}

/**
 * Clients of the real kind, with sessions, retries and deadlines, and the history of what they asked and heard. Every
 * written value is unique. Keys of even number only see sets and gets, which the exact zone check judges; the others everything.
 */
export class Workload {
  readonly history = new HistoryRecorder();
  readonly counts: WorkloadCounts = { answered: 0, open: 0, refused: 0 };
  /** Operations that were given up with a code that says so, by code. */
  readonly codes = new Map<string, number>();
  private readonly around: Surroundings;
  private readonly plan: Plan;
  private readonly prng: Prng;
  private readonly clients: SimClient[] = [];
  private nextValue = 1;
  private nextClient = 1;
  private stopped = false;
  private lanes = 0;

  constructor(around: Surroundings, plan: Plan, seed: number) {
    this.around = around;
    this.plan = plan;
    this.prng = new Prng(seed);
  }

  get running(): number {
    return this.lanes;
  }

  start(): void {
    for (let i = 0; i < this.plan.clients; i++) this.addClient();
  }

  /** The clients finish what they have begun, and begin nothing new. */
  stop(): void {
    this.stopped = true;
  }

  /** One client's process dies with what it had under way; another one comes. */
  killClient(): void {
    const [victim] = this.clients.splice(this.prng.int(0, this.clients.length - 1), 1);
    if (victim === undefined) return;
    this.around.note(`${victim.name} is killed`);
    this.lanes -= victim.lanes;
    victim.kill();
    this.addClient();
  }

  /** Reads or writes every key once, by a new client; rejects when one cannot be. */
  async touchAll(): Promise<void> {
    const client = new SimClient(`client-${this.nextClient++}`, this.nextClient, this.around, this.prng.nextU32());
    const skerry = await client.connect();
    for (const key of this.keys()) {
      await this.perform(client, skerry, key, { kind: 'get' }, true);
      await this.perform(client, skerry, key, { kind: 'set', value: this.newValue() }, true);
      await this.perform(client, skerry, key, { kind: 'get' }, true);
    }
    client.kill();
  }

  keys(): string[] {
    return Array.from({ length: this.plan.keys }, (_, i) => `key-${i}`);
  }

  private addClient(): void {
    const number = this.nextClient++;
    const client = new SimClient(`client-${number}`, number, this.around, this.prng.nextU32());
    this.clients.push(client);
    client.lanes = this.plan.concurrency;
    this.lanes += client.lanes;
    client.connect().then(
      (skerry) => {
        for (let lane = 0; lane < this.plan.concurrency; lane++) void this.run(client, skerry);
      },
      (error: unknown) => this.around.unexpected(error as Error),
    );
  }

  private async run(client: SimClient, skerry: SkerryClient): Promise<void> {
    try {
      while (!this.stopped) {
        const { key, call } = this.choose(client);
        await this.perform(client, skerry, key, call, false);
        await client.pause(client.prng.random() * pauseMs);
      }
      client.lanes--;
      this.lanes--;
    } catch (error) {
      this.around.unexpected(error as Error);
    }
  }

  private choose(client: SimClient): { key: string; call: Call } {
    const { prng } = client;
    const number = prng.int(0, this.plan.keys - 1);
    const key = `key-${number}`;
    const dice = prng.random();
    if (dice < 0.45) return { key, call: { kind: 'get' } };
    if (number % 2 === 0 || dice < 0.65) return { key, call: { kind: 'set', value: this.newValue() } };
    if (dice < 0.7) return { key, call: { kind: 'exists' } };
    if (dice < 0.78) return { key, call: { kind: 'delete' } };
    return { key, call: { kind: 'swap', expected: client.lastSeen.get(key) ?? null, value: this.newValue() } };
  }

  private async perform(
    client: SimClient,
    skerry: SkerryClient,
    key: string,
    call: Call,
    mustSucceed: boolean,
  ): Promise<void> {
    const { clock } = this.around;
    const id = this.history.begin(client.number, key, call, clock.nowMs);
    let answer: Answer;
    try {
      answer = await ask(skerry, key, call, client.prng.chance(0.2));
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
      if (mustSucceed) throw error;
      this.failed(client, id, key, call, error);
      return;
    }
    this.history.end(id, answer, clock.nowMs);
    this.counts.answered++;
    client.learn(key, call, answer);
    this.around.note(`${client.name} ${describe(key, call)} -> ${JSON.stringify(answer)}`);
  }

  /** The client's own word is taken: anything but UNDETERMINED says that a write had no effect and will have none. */
  private failed(client: SimClient, id: number, key: string, call: Call, error: SkerryError): void {
    const isWrite = call.kind !== 'get' && call.kind !== 'exists';
    if (error.code === 'UNDETERMINED' && isWrite) this.counts.open++;
    else {
      this.history.leaveOut(id);
      this.counts.refused++;
    }
    this.codes.set(error.code, (this.codes.get(error.code) ?? 0) + 1);
    this.around.note(`${client.name} ${describe(key, call)} -> ${error.code}`);
  }

  private newValue(): string {
    return `v${this.nextValue++}`;
  }
}

class SimClient {
  readonly name: string;
  readonly number: number;
  readonly prng: Prng;
  readonly lastSeen = new Map<string, string | null>();
  lanes = 0;
  private readonly around: Surroundings;
  private readonly runtime: VirtualRuntime;
  private skerry: SkerryClient | null = null;

  constructor(name: string, number: number, around: Surroundings, seed: number) {
    this.name = name;
    this.number = number;
    this.around = around;
    this.prng = new Prng(seed);
    this.runtime = new VirtualRuntime(around.clock, this.prng.nextU32());
  }

  /** Tries until there is a cluster to connect to. */
  async connect(): Promise<SkerryClient> {
    const { net } = this.around;
    for (;;) {
      try {
        this.skerry = await SkerryClient.connect({
          placement: this.around.placementToAsk(),
          keyspace: keyspaceName,
          timeoutMs: operationTimeoutMs,
          runtime: this.runtime,
          dial: net.rpc.dial(this.name, this.runtime),
        });
        return this.skerry;
      } catch (error) {
        if (!(error instanceof SkerryError) || !error.retryable) throw error;
      }
    }
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.runtime.after(ms, resolve));
  }

  kill(): void {
    this.runtime.kill();
    this.around.net.leave(this.name);
  }

  learn(key: string, call: Call, answer: Answer): void {
    if (answer.kind === 'get') this.lastSeen.set(key, answer.value);
    else if (call.kind === 'set') this.lastSeen.set(key, call.value);
    else if (call.kind === 'delete') this.lastSeen.set(key, null);
    else if (call.kind === 'swap' && answer.kind === 'swap') {
      this.lastSeen.set(key, answer.applied ? call.value : answer.current);
    }
  }
}

async function ask(skerry: SkerryClient, key: string, call: Call, follower: boolean): Promise<Answer> {
  const read = follower ? ({ consistency: 'follower' } as const) : {};
  switch (call.kind) {
    case 'get':
      return { kind: 'get', value: (await skerry.get(key, read))?.toString() ?? null };
    case 'exists':
      return { kind: 'exists', exists: await skerry.exists(key, read) };
    case 'set':
      await skerry.set(key, call.value);
      return { kind: 'set' };
    case 'delete':
      await skerry.delete(key);
      return { kind: 'delete' };
    case 'swap': {
      const { swapped, current } = await skerry.compareAndSwap(key, call.expected, call.value);
      return { kind: 'swap', applied: swapped, current: current?.toString() ?? null };
    }
  }
}

function describe(key: string, call: Call): string {
  return `${key} ${JSON.stringify(call)}`;
}
