import type { TypedError } from '../src/base/wire_errors.js';
import { placementUnavailable, serverIsBusy, undetermined } from '../src/base/wire_errors.js';
import type { Group, ProposalOutcome } from '../src/multiraft/host.js';
import { proposalsInFlightMax } from './limits.js';
import { placementCommandKind } from './placement_state_machine.js';
import { encodeCommand } from './state/command_codec.js';
import type { CommandOutcome, PlacementCommand } from './state/commands.js';
import { WireFault } from './wire_fault.js';

const busyRetryMs = 100;

/** Brings commands through the group's log. Commands proposed in one turn share one entry. */
export class Proposer {
  private inFlight = 0;
  private readonly group: Group;
  private readonly leaderAddress: () => string;

  constructor(group: Group, leaderAddress: () => string) {
    this.group = group;
    this.leaderAddress = leaderAddress;
  }

  get pending(): number {
    return this.inFlight;
  }

  /** What the command came to, or why it was refused by the state; throws WireFault when it did not get that far. */
  async tryPropose(command: PlacementCommand, unknownFate: TypedError | null = null): Promise<CommandOutcome> {
    if (this.inFlight >= proposalsInFlightMax) {
      throw new WireFault(serverIsBusy('placement.proposals_in_flight', busyRetryMs));
    }
    this.inFlight++;
    try {
      const outcome = await new Promise<ProposalOutcome>((resolve) =>
        this.group.propose(placementCommandKind, encodeCommand(command), resolve),
      );
      return this.resultOf(outcome, unknownFate);
    } finally {
      this.inFlight--;
    }
  }

  /** As tryPropose, and throws a refusal too. The number that the command results in. */
  async propose(command: PlacementCommand): Promise<number> {
    const outcome = await this.tryPropose(command);
    if (outcome.ok) return outcome.value;
    throw new WireFault(outcome.error);
  }

  /** As propose, for a command that must not be sent again when its fate is not known: throws Undetermined then. */
  async proposeOnce(command: PlacementCommand): Promise<number> {
    const outcome = await this.tryPropose(command, undetermined(0, 0));
    if (outcome.ok) return outcome.value;
    throw new WireFault(outcome.error);
  }

  private resultOf(outcome: ProposalOutcome, unknownFate: TypedError | null): CommandOutcome {
    switch (outcome.status) {
      case 'applied':
        return outcome.result as CommandOutcome;
      case 'dropped':
        if (outcome.reason === 'busy') throw new WireFault(serverIsBusy('raft', busyRetryMs));
        throw new WireFault(placementUnavailable(this.leaderAddress()));
      case 'undetermined':
        // Most commands may be sent again: what was done already is refused or found (see PlacementCommand).
        throw new WireFault(unknownFate ?? placementUnavailable(this.leaderAddress()));
    }
  }
}
