import { fork } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { performance } from 'node:perf_hooks';
import { readOptions } from './support/options.js';
import { answererId, newTransport, senderId, unheard } from './support/peer_frames_host.js';
import { cpuSeconds, machineShape } from './support/process_cpu.js';
import { showSpread, spreadOf } from './support/spread.js';

const options = {
  outstanding: { kind: 'integer', about: 'frames on their way or being answered', default: 8, min: 1, max: 4096 },
  bytes: { kind: 'integer', about: 'payload of a frame; answers have none', default: 4096, min: 0, max: 16_777_216 },
  seconds: { kind: 'number', about: 'seconds of a run', default: 3, min: 0.1, max: 3_600 },
  runs: { kind: 'integer', about: 'runs', default: 5, min: 1, max: 1_000 },
} as const;

const answererProcess = new URL(import.meta.url.replace(/peer_frames(\.[jt]s)$/, 'support/peer_frames_answerer$1'));

/**
 * Frames between two hosts in two processes on loopback, one frame per turn and direction: what a frame costs apart from what is in
 * it. `npm run bench -- peer-frames --bytes 4096 --outstanding 8`
 */
export async function run(args: string[]): Promise<void> {
  const { outstanding, bytes, seconds, runs } = readOptions(args, options);
  const child = fork(answererProcess);
  const [address] = (await once(child, 'message')) as [string];
  const sender = await Sender.start(address, Buffer.alloc(bytes, 1));
  const cpu = (pid: number | undefined): number => (pid === undefined ? NaN : (cpuSeconds(pid) ?? NaN));
  const rates: number[] = [];
  const senderUs: number[] = [];
  const answererUs: number[] = [];
  for (let round = 0; round <= runs; round++) {
    const before = { ms: performance.now(), here: cpu(process.pid), there: cpu(child.pid) };
    const frames = await sender.keepOutstanding(outstanding, seconds);
    // The first round warms up.
    if (round === 0) continue;
    rates.push((frames / (performance.now() - before.ms)) * 1_000);
    senderUs.push(((cpu(process.pid) - before.here) * 1e6) / frames);
    answererUs.push(((cpu(child.pid) - before.there) * 1e6) / frames);
  }
  await sender.stop();
  child.disconnect();
  process.stdout.write(
    `frames between two hosts: ${bytes} bytes there, an empty answer, ${outstanding} outstanding; median (min to max) of ${runs}\n` +
      `${machineShape()}, load average ${(loadavg()[0] ?? 0).toFixed(1)}\n` +
      `round trips/s                     ${showSpread(spreadOf(rates), 0)}\n` +
      `CPU of the sender per round trip  ${showSpread(spreadOf(senderUs), 1)} us\n` +
      `CPU of the other per round trip   ${showSpread(spreadOf(answererUs), 1)} us\n`,
  );
}

class Sender {
  private readonly transport = newTransport(senderId);
  private readonly payload: Buffer;
  private answered = 0;
  private waiting = 0;
  private running = false;
  private idle: (() => void) | null = null;

  private constructor(payload: Buffer) {
    this.payload = payload;
  }

  static async start(address: string, payload: Buffer): Promise<Sender> {
    const sender = new Sender(payload);
    await new Promise<void>((resolve) => {
      void sender.transport.start({
        ...unheard,
        peerUp: () => resolve(),
        forwardResponse: () => sender.handleAnswer(),
      });
      sender.transport.setPeer(answererId, address);
    });
    return sender;
  }

  /** Resolves with the number of frames that were answered, once all were. */
  async keepOutstanding(count: number, seconds: number): Promise<number> {
    const before = this.answered;
    this.running = true;
    for (let i = 0; i < count; i++) this.send();
    setTimeout(() => (this.running = false), seconds * 1_000);
    await new Promise<void>((resolve) => (this.idle = resolve));
    return this.answered - before;
  }

  stop(): Promise<void> {
    return this.transport.close();
  }

  private send(): void {
    this.waiting++;
    this.transport.sendForward(answererId, this.waiting, this.payload);
    this.transport.flush();
  }

  private handleAnswer(): void {
    this.answered++;
    this.waiting--;
    if (this.running) this.send();
    else if (this.waiting === 0) this.idle?.();
  }
}
