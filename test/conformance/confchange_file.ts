import { enterJoint, leaveJointChange, simpleChange } from '../../src/raft/confchange/changer.js';
import type { ChangeError, ChangeOutcome } from '../../src/raft/confchange/changer.js';
import { emptyConfState } from '../../src/raft/conf_state.js';
import type { ConfState } from '../../src/raft/message.js';
import { PeerTable } from '../../src/raft/tracker/peer_table.js';
import { parseOperations } from './operations.js';
import type { Directive } from './script.js';
import { configurationText, progressText } from './text.js';

/* confchange/*.txt (FORMAT.md section 10). */

const errorTexts: Readonly<Record<ChangeError, string>> = {
  removedAllVoters: 'removed all voters',
  simpleWhileJoint: "can't apply simple config change in joint config",
  moreThanOneVoter: 'more than one voter changed without entering joint config',
  alreadyJoint: 'config is already joint',
  noVoters: "can't make a zero-voter config joint",
  notJoint: "can't leave a non-joint config",
};

/** What one file builds up. */
export class ConfChangeFile {
  private conf: ConfState = emptyConfState;
  private readonly peers = new PeerTable({ inflightMsgsMax: 10, inflightBytesMax: Infinity }, emptyConfState, 0);
  private last = 0;

  run(d: Directive): string {
    const outcome = this.change(d);
    const next = Math.max(this.last, 1);
    this.last++;
    if (!outcome.ok) return errorTexts[outcome.error];
    this.conf = outcome.conf;
    this.peers.reconfigure(outcome.conf, outcome.fates, next, 0);
    const table = this.peers.all.map((peer) => {
      const { state, match, next: nextIndex, learner, pendingSnapshot, recentActive } = peer;
      const text = progressText({
        state,
        match,
        next: nextIndex,
        learner,
        paused: peer.isPaused(),
        pendingSnapshot,
        recentActive,
        inflightMsgs: peer.inflights.count,
        inflightFull: peer.inflights.full(),
      });
      return `${String(peer.id)}: ${text}\n`;
    });
    return `${configurationText(this.conf)}\n${table.join('')}`;
  }

  private change(d: Directive): ChangeOutcome {
    const operations = parseOperations(d.input);
    switch (d.command) {
      case 'simple':
        return simpleChange(this.conf, operations);
      case 'enter-joint':
        return enterJoint(this.conf, d.args.find((a) => a.key === 'autoleave')?.values[0] === 'true', operations);
      case 'leave-joint':
        return leaveJointChange(this.conf);
      default:
        throw new Error(`unknown command ${d.command}`);
    }
  }
}
