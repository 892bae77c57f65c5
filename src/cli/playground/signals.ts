import { constants } from 'node:os';

const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof names)[number];

export interface FirstSignal {
  readonly received: Promise<StopSignal>;
  /** Aborted when the signal came. */
  readonly aborted: AbortSignal;
  /** What a shell reports for a process that ended by it. */
  exitCode(name: StopSignal): number;
  release(): void;
}

/** The first signal that asks us to stop. A second one ends the process at once; its 'exit' handlers still run. */
export function firstSignal(): FirstSignal {
  const controller = new AbortController();
  let settle: (name: StopSignal) => void = () => undefined;
  const received = new Promise<StopSignal>((resolve) => (settle = resolve));
  const onSignal = (name: NodeJS.Signals): void => {
    const known = names.find((n) => n === name);
    if (known === undefined) return;
    if (controller.signal.aborted) process.exit(128 + constants.signals[known]);
    controller.abort(new Error(`stopped by ${known}`));
    settle(known);
  };
  for (const name of names) process.on(name, onSignal);
  return {
    received,
    aborted: controller.signal,
    exitCode: (name) => 128 + constants.signals[name],
    release: () => {
      for (const name of names) process.removeListener(name, onSignal);
    },
  };
}
