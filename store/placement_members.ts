import type { Runtime } from '../src/base/runtime.js';
import { sleep } from '../src/base/runtime.js';
import type { TypedError } from '../src/base/wire_errors.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import { placementBackoffMaxMs, placementBackoffMinMs } from './limits.js';

/** Errors of a member that is late, busy or does not lead. What stores ask for may be asked again, whatever became of it. */
const passing: ReadonlySet<NonNullable<TypedError['detail']>['$case']> = new Set([
  'placementUnavailable',
  'serverIsBusy',
  'deadlineExceeded',
  'undetermined',
]);

/** A typed error that asking again does not cure. */
export class PlacementRefusal extends Error {
  override readonly name = 'PlacementRefusal';
  readonly typed: TypedError;

  constructor(typed: TypedError) {
    super(typed.message);
    this.typed = typed;
  }
}

/** The placement members: whom to ask next, and how long to wait before it. */
export class PlacementMembers {
  private readonly named: readonly string[];
  private addresses: readonly string[];
  private heardVersion = 0;
  private readonly runtime: Runtime;
  private at = 0;
  private failures = 0;
  /** Asked before the rotation goes on. */
  private hint = '';

  constructor(addresses: readonly string[], runtime: Runtime) {
    this.named = [...addresses];
    this.addresses = this.named;
    this.runtime = runtime;
  }

  get list(): readonly string[] {
    return this.addresses;
  }

  /** Of the newest list that was learnt; 0: none yet. */
  get version(): number {
    return this.heardVersion;
  }

  /** Takes a list of the members; an older one than the last is late. What the configuration names stays, behind them. */
  learn(list: MemberList): void {
    if (list.version < this.heardVersion) return;
    this.heardVersion = list.version;
    const present = this.current();
    const told = list.members.map((m) => m.address).filter((address) => address !== '');
    this.addresses = [...new Set([...told, ...this.named])];
    this.at = Math.max(0, this.addresses.indexOf(present));
  }

  current(): string {
    return this.hint !== '' ? this.hint : (this.addresses[this.at % this.addresses.length] ?? '');
  }

  /** The member that answers for now; the others are left alone. */
  succeeded(): void {
    this.failures = 0;
  }

  /** A member named its leader, which is asked next. */
  redirect(address: string): void {
    this.hint = address;
  }

  /** The present member did not answer: the next one, after the returned time. Whole rounds back off. */
  failed(): number {
    if (this.hint !== '') this.hint = '';
    else this.at++;
    this.failures++;
    const rounds = Math.floor(this.failures / this.addresses.length);
    const limitMs = Math.min(placementBackoffMaxMs, placementBackoffMinMs * 2 ** Math.min(rounds, 10));
    return limitMs * (0.5 + this.runtime.random() / 2);
  }

  /**
   * Asks member after member until one answers; forever when nobody does and `attempts` is not given. Rejects with
   * PlacementRefusal on a typed error that time does not cure.
   */
  async ask<T extends { readonly error: TypedError | undefined }>(
    call: (address: string) => Promise<T>,
    waiting: (address: string, problem: string) => void,
    attempts = Infinity,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const address = this.current();
      let problem: string;
      try {
        const response = await call(address);
        if (response.error === undefined) {
          this.succeeded();
          return response;
        }
        const { detail } = response.error;
        if (detail === undefined || !passing.has(detail.$case)) throw new PlacementRefusal(response.error);
        problem = response.error.message;
        const leader = detail.$case === 'placementUnavailable' ? detail.value.leaderAddress : '';
        const delayMs = this.failed();
        if (leader !== '' && leader !== address) this.redirect(leader);
        await sleep(this.runtime, delayMs);
      } catch (error) {
        if (error instanceof PlacementRefusal) throw error;
        problem = error instanceof Error ? error.message : String(error);
        await sleep(this.runtime, this.failed());
      }
      if (attempt >= attempts) throw new Error(`no placement member answers: ${problem}`);
      waiting(address, problem);
    }
  }
}
