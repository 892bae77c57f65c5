import { SkerryClient } from '../../src/client/index.js';

interface Register {
  readonly key: string;
  /** Largest number whose write was acknowledged or that a read has seen. */
  acked: number;
  /** Largest number that a write was begun with. */
  invoked: number;
}

const valueBytes = 256;

function valueOf(n: number): string {
  return String(n).padStart(valueBytes, '0');
}

/**
 * Writers that keep a cluster busy until it is killed under them. Each owns some registers and counts every one of them
 * up, one write at a time. A write that broke off may or may not have taken effect, so afterwards a register must
 * hold what was acknowledged last or, at most, the one number that was begun after it. A register goes on from what it held, so that
 * each round checks what all rounds before it wrote.
 */
export class KillLoad {
  private readonly placement: string;
  private readonly registersOfWriter: readonly (readonly Register[])[];
  private loops: Promise<void>[] = [];
  private client: SkerryClient | null = null;
  private ending: AbortController = new AbortController();
  /** Writes acknowledged in all. */
  acked = 0;

  constructor(placement: string, writers: number, registersPerWriter: number) {
    this.placement = placement;
    this.registersOfWriter = Array.from({ length: writers }, (_, writer) =>
      Array.from({ length: registersPerWriter }, (_, i) => ({ key: `kill/${writer}/${i}`, acked: 0, invoked: 0 })),
    );
  }

  async start(): Promise<void> {
    this.ending = new AbortController();
    this.client = await SkerryClient.connect({ placement: this.placement, connectTimeoutMs: 60_000 });
    const { client } = this;
    const { signal } = this.ending;
    const ended = (): boolean => signal.aborted;
    this.loops = this.registersOfWriter.map((registers) => this.write(client, registers, ended));
  }

  /** Call in the turn of the kill, so that no writer ends before it: waits until every writer has noticed. */
  async stop(): Promise<void> {
    this.ending.abort();
    this.client?.close();
    await Promise.all(this.loops);
  }

  private async write(client: SkerryClient, registers: readonly Register[], ended: () => boolean): Promise<void> {
    for (let turn = 0; !ended(); turn++) {
      const register = registers[turn % registers.length];
      if (register === undefined) return;
      register.invoked = register.acked + 1;
      try {
        await client.set(register.key, valueOf(register.invoked), { timeoutMs: 30_000 });
      } catch (error) {
        // What breaks off before the end of the load is no consequence of it.
        if (!ended()) throw error;
        return;
      }
      register.acked = register.invoked;
      this.acked++;
    }
  }

  /** Reads every register and returns what no store may have lost or made up. Empty: nothing. */
  async violations(): Promise<string[]> {
    const client = await SkerryClient.connect({ placement: this.placement, connectTimeoutMs: 60_000 });
    try {
      const found: string[] = [];
      const registers = this.registersOfWriter.flat();
      for (let at = 0; at < registers.length; at += 1024) {
        const page = registers.slice(at, at + 1024);
        const values = await client.batchGet(
          page.map((r) => r.key),
          { timeoutMs: 60_000 },
        );
        page.forEach((register, i) => {
          const value = values[i]?.toString() ?? '0';
          const n = Number(value);
          const whole = values[i] === null || value === valueOf(n);
          if (!whole || n < register.acked || n > register.invoked) {
            found.push(`${register.key} holds ${value}, expected ${register.acked} to ${register.invoked}`);
          }
          register.acked = register.invoked = n;
        });
      }
      return found;
    } finally {
      client.close();
    }
  }
}
