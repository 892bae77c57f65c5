import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { outputLinesShown, readyMsMax, stopGraceMs } from './limits.js';
import { packageRoot } from './package_root.js';

/**
 * Node.js flags of each kind of server, as deploy/ has them. What lives for a round trip outlives several collections of a
 * store's young generation when that is as small as it is by default.
 */
export const nodeFlags: Readonly<Record<ServerSpec['binary'], readonly string[]>> = Object.freeze({
  'skerry-store': ['--max-semi-space-size=64'],
  'skerry-placement': [],
});

/** The line of JSON with which a server says that it serves. */
const readyLine = z.object({
  event: z.literal('ready'),
  address: z.string(),
  metrics: z.string().optional(),
  storeId: z.number().optional(),
  memberId: z.number().optional(),
});
export type ReadyLine = z.infer<typeof readyLine>;

export interface ServerSpec {
  /** For people and for the name of the log file. */
  readonly name: string;
  readonly binary: 'skerry-store' | 'skerry-placement';
  /** Flags for a start; `address` is the one that it had before, if it ran before. */
  readonly flags: (address: string | null) => readonly string[];
  readonly logFile: string;
  /** Beyond this process's own. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

/**
 * One server as a child process. Its standard input is a pipe from us: when we die, however we die, the pipe ends
 * and the server stops (--exit-on-stdin-end). Everything that it prints goes to its log file.
 */
export class ServerProcess {
  readonly name: string;
  readonly logFile: string;
  readonly #spec: ServerSpec;
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();
  #ready: ReadyLine | null = null;

  constructor(spec: ServerSpec) {
    this.#spec = spec;
    this.name = spec.name;
    this.logFile = spec.logFile;
  }

  /** What the server said when it became ready; of the last start. */
  get ready(): ReadyLine {
    if (this.#ready === null) throw new Error(`${this.name} has not been ready yet`);
    return this.#ready;
  }

  get address(): string {
    return this.ready.address;
  }

  /** 0: it does not run. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Starts the server and waits until it is ready. @throws Error with the end of its output */
  async start(): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.name} runs already`);
    const fromSource = import.meta.url.endsWith('.ts');
    const child = spawn(
      process.execPath,
      [
        ...nodeFlags[this.#spec.binary],
        ...(fromSource ? ['--import', 'tsx'] : []),
        `${packageRoot}/bin/${this.#spec.binary}.js`,
        ...this.#spec.flags(this.#ready?.address ?? null),
        '--exit-on-stdin-end',
      ],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        // Ctrl-C in a terminal is for us; we stop the servers in order.
        detached: true,
        cwd: packageRoot,
        env: { ...process.env, ...this.#spec.environment, ...(fromSource ? { SKERRY_FROM_SOURCE: '1' } : {}) },
      },
    );
    this.#child = child;
    const log = createWriteStream(this.logFile, { flags: 'a' });
    this.#exited = new Promise((resolve) => {
      child.once('close', () => {
        if (this.#child === child) this.#child = null;
        log.end();
        resolve();
      });
    });
    // A server that is gone does not read; that is no news.
    child.stdin.on('error', () => undefined);
    this.#ready = await this.#untilReady(child, log);
  }

  #untilReady(child: ChildProcess, log: WriteStream): Promise<ReadyLine> {
    const last: string[] = [];
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        child.kill('SIGKILL');
        reject(new Error(`${this.name} ${why}; it said:\n${last.join('\n')}\n(log: ${this.logFile})`));
      };
      const timer = setTimeout(() => fail(`was not ready within ${readyMsMax} ms`), readyMsMax);
      const follow = (input: NodeJS.ReadableStream | null, onLine: (line: string) => void): void => {
        if (input === null) return;
        createInterface({ input }).on('line', (line) => {
          log.write(`${line}\n`);
          last.push(line);
          if (last.length > outputLinesShown) last.shift();
          onLine(line);
        });
      };
      follow(child.stdout, (line) => {
        const ready = readyLineOf(line);
        if (ready === null) return;
        clearTimeout(timer);
        resolve(ready);
      });
      follow(child.stderr, () => undefined);
      child.once('error', (error) => fail(`could not be started: ${error.message}`));
      // 'close' comes after the last line of output.
      child.once('close', (code, signal) => fail(`ended with ${signal ?? `code ${code ?? 'unknown'}`}`));
    });
  }

  /** Sends a signal, SIGKILL by default, and resolves when the process is gone (for SIGSTOP and SIGCONT: at once). */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child?.kill(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await this.#exited;
  }

  /** For process exit, when nothing can be awaited. */
  killNow(): void {
    this.#child?.kill('SIGKILL');
  }

  /** Asks the server to stop and, if it does not, kills it. */
  async stop(): Promise<void> {
    if (this.#child === null) return;
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), stopGraceMs);
    this.#child.kill('SIGTERM');
    await this.#exited;
    clearTimeout(timer);
  }

  /** Starts again on the same address and data. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}

function readyLineOf(line: string): ReadyLine | null {
  if (!line.startsWith('{') || !line.includes('"ready"')) return null;
  try {
    return readyLine.safeParse(JSON.parse(line)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
