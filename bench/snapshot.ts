import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { ListeningServer, rawPath } from './support/snapshot_peer.js';
import { machineShape } from './support/process_cpu.js';
import type { SenderAnswer, SenderRequest, SenderSettings } from './support/snapshot_sender_process.js';
import { LoopAndMemory } from './support/loop_and_memory.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * A shard's snapshot from one process to another over gRPC on loopback, without a rate limit: consistent view, rows,
 * chunks, stream, staged file with its sync, installation into an empty engine with its syncs. Beside it, in every round,
 * the same number of bytes in chunks of the same size through a bare gRPC stream between the same processes, received and
 * thrown away.
 * "blocked" is the longest delay of an event loop in a round, "memory" the highest resident size during it.
 *
 *   node dist/bench/main.js snapshot [--mib N] [--value BYTES] [--rounds N] [--directory DIR]
 */
interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly decimals: number;
  readonly rounds: number[];
}

export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const rounds = Number(option('--rounds') ?? 5);
  const mib = Number(option('--mib') ?? 256);
  const valueBytes = Number(option('--value') ?? 1024);
  const directory = mkdtempSync(join(option('--directory') ?? tmpdir(), 'skerry-bench-snapshot-'));
  const server = await ListeningServer.start(join(directory, 'receiver'));
  const sender = new Sender({ address: server.address, path: join(directory, 'sender'), mib, valueBytes });
  const figures = new Map<string, Figure>();
  const note = (name: string, unit: string, decimals: number, value: number): void => {
    const figure = figures.get(name) ?? { name, unit, decimals, rounds: [] };
    figure.rounds.push(value);
    figures.set(name, figure);
  };
  const loads: number[] = [];
  try {
    await sender.ready();
    await runRound(server, sender, () => undefined); // warm up
    for (let round = 0; round < rounds; round++) {
      loads.push(loadavg()[0] ?? 0);
      await runRound(server, sender, note);
    }
  } finally {
    sender.stop();
    await server.close();
    rmSync(directory, { recursive: true });
  }
  const lines = [...figures.values()].map(
    ({ name, unit, decimals, rounds: values }) =>
      `${name.padEnd(46)} ${showSpread(spreadOf(values), decimals)} ${unit}`,
  );
  process.stdout.write(
    `snapshot of a shard of ${mib} MiB in values of ${valueBytes} B, ${rounds} rounds: median (min to max)\n` +
      `${machineShape()}, load average ${showSpread(spreadOf(loads), 1)}\n${lines.join('\n')}\n`,
  );
}

type Note = (name: string, unit: string, decimals: number, value: number) => void;

async function runRound(server: ListeningServer, sender: Sender, note: Note): Promise<void> {
  const raw = await measured(() => sender.ask({ kind: 'raw', path: rawPath }));
  const rawRate = raw.answer.bytes / 2 ** 20 / (raw.wallMs / 1e3);
  await server.emptyEngine();
  const snapshot = await measured(async () => {
    const answer = await sender.ask({ kind: 'snapshot' });
    await server.installed();
    return answer;
  });
  const rate = snapshot.answer.bytes / 2 ** 20 / (snapshot.wallMs / 1e3);
  note('bare gRPC stream', 'MiB/s', 0, rawRate);
  note('snapshot, view to installed', 'MiB/s', 0, rate);
  note('  of the bare stream', '', 2, rate / rawRate);
  note('  sender, CPU of all threads', 'ms', 0, snapshot.answer.cpuMs);
  note('  receiver, CPU of all threads', 'ms', 0, snapshot.cpuMs);
  note('  sender, CPU of its event loop', 'ms', 0, snapshot.answer.loopMs);
  note('  receiver, CPU of its event loop', 'ms', 0, snapshot.loopMs);
  note('  both event loops, bare stream', 'ms', 0, raw.answer.loopMs + raw.loopMs);
  note('  both, CPU of the bare stream', 'ms', 0, raw.answer.cpuMs + raw.cpuMs);
  note('  until it is staged', 'ms', 0, server.stagedMs);
  note('  installation', 'ms', 0, server.installMs);
  note('  sender blocked, bare stream', 'ms', 1, raw.answer.blockedMs);
  note('  receiver blocked, bare stream', 'ms', 1, raw.blockedMs);
  note('  sender blocked', 'ms', 1, snapshot.answer.blockedMs);
  note('  receiver blocked', 'ms', 1, snapshot.blockedMs);
  note('  sender, memory', 'MiB', 0, snapshot.answer.rssMax / 2 ** 20);
  note('  receiver, memory', 'MiB', 0, snapshot.rssMax / 2 ** 20);
}

async function measured(work: () => Promise<SenderAnswer>) {
  const meter = new LoopAndMemory();
  const startMs = performance.now();
  const answer = await work();
  const wallMs = performance.now() - startMs;
  return { answer, wallMs, ...meter.stop() };
}

/** The sending process, which has the shard. */
class Sender {
  private readonly child: ChildProcess;
  private readonly settings: SenderSettings;
  private waiting: { resolve(answer: SenderAnswer): void; reject(error: Error): void } | null = null;

  constructor(settings: SenderSettings) {
    this.settings = settings;
    this.child = fork(new URL('./support/snapshot_sender_process.js', import.meta.url).pathname, [], {
      stdio: 'inherit',
    });
    this.child.on('message', (answer: SenderAnswer) => this.settle((waiting) => waiting.resolve(answer)));
    this.child.on('exit', (code) =>
      this.settle((waiting) => waiting.reject(new Error(`the sender ended with code ${String(code)}`))),
    );
  }

  async ready(): Promise<void> {
    await this.ask({ kind: 'fill', settings: this.settings });
  }

  ask(request: SenderRequest): Promise<SenderAnswer> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.child.send(request);
    });
  }

  stop(): void {
    this.child.disconnect();
  }

  private settle(how: (waiting: NonNullable<Sender['waiting']>) => void): void {
    const { waiting } = this;
    this.waiting = null;
    if (waiting !== null) how(waiting);
  }
}
