import type { TypedError } from '../src/base/wire_errors.js';

/** Carries a typed error up to the service, which answers with it. Says nothing about a fault of this process. */
export class WireFault extends Error {
  override readonly name = 'WireFault';
  readonly typed: TypedError;

  constructor(typed: TypedError) {
    super(typed.message);
    this.typed = typed;
  }
}
