/** A promise was broken: exit code 11. */
export class SafetyError extends Error {
  override readonly name = 'SafetyError';
}

/** The cluster did not come back although nothing was in its way any more: exit code 12. */
export class LivenessError extends Error {
  override readonly name = 'LivenessError';
}

/** A checker could not decide. Never a pass: exit code 13. */
export class UndecidedError extends Error {
  override readonly name = 'UndecidedError';
}

export type FailureKind = 'crash' | 'safety' | 'liveness' | 'unknown';

/** Anything else that is thrown is a crash: an assertion, or a fault of the simulator itself. Exit code 10. */
export function failureKindOf(error: unknown): FailureKind {
  if (error instanceof SafetyError) return 'safety';
  if (error instanceof LivenessError) return 'liveness';
  return error instanceof UndecidedError ? 'unknown' : 'crash';
}

export const exitCodes: Readonly<Record<FailureKind, number>> = { crash: 10, safety: 11, liveness: 12, unknown: 13 };
