import { appendThread, applyThread, MsgType } from '../../src/raft/message.js';
import type { Entry, Message, SnapshotMeta } from '../../src/raft/message.js';
import type { ScriptNode } from './script_node.js';

export class InvariantError extends Error {}

function check(condition: boolean, what: string): void {
  if (!condition) throw new InvariantError(`invariant broken: ${what}`);
}

/** What holds in every correct run (FORMAT.md section 11), whatever the text says. */
export class Invariants {
  private readonly leaders = new Map<number, number>();
  private readonly votes = new Map<string, number>();
  private readonly applied = new Map<number, Entry>();
  private readonly commits = new Map<number, number>();
  /** Per node what it handed out to be written: index to term. */
  private readonly written = new Map<number, Map<number, number>>();

  applies(node: ScriptNode, entry: Entry): void {
    const before = this.applied.get(entry.index);
    if (before !== undefined)
      check(sameEntry(before, entry), `nodes apply different entries at ${String(entry.index)}`);
    else this.applied.set(entry.index, entry);
    check(entry.index <= node.core.commit, 'only committed entries are applied');
  }

  handsOut(node: ScriptNode, entries: readonly Entry[], snapshot: SnapshotMeta | null): void {
    const terms = this.written.get(node.id) ?? new Map<number, number>();
    this.written.set(node.id, terms);
    if (snapshot !== null) terms.clear();
    const [first] = entries;
    if (first === undefined) return;
    for (const index of [...terms.keys()]) if (index >= first.index) terms.delete(index);
    for (const entry of entries) terms.set(entry.index, entry.term);
  }

  /** A message enters the network. */
  sends(node: ScriptNode, m: Message): void {
    if (m.to === node.id || m.to === appendThread || m.to === applyThread || m.reject) return;
    if (m.type === MsgType.MsgAppResp && m.index > 0) {
      check(m.index <= node.storage.lastIndex(), `${String(node.id)} acknowledges an entry before it is stored`);
    }
    if (m.type === MsgType.MsgVoteResp) {
      const stored = node.storage.getHardState();
      const durable = stored !== null && (stored.term > m.term || (stored.term === m.term && stored.vote === m.to));
      check(durable, `the vote of ${String(node.id)} leaves before it is stored`);
      const key = `${String(node.id)} in term ${String(m.term)}`;
      check((this.votes.get(key) ?? m.to) === m.to, `one vote of ${key}`);
      this.votes.set(key, m.to);
    }
  }

  afterDirective(nodes: readonly ScriptNode[]): void {
    for (const node of nodes) {
      this.checkLeader(node);
      this.checkCommit(node);
      this.checkStable(node);
    }
    nodes.forEach((a, i) => {
      for (const b of nodes.slice(i + 1)) checkLogsMatch(a, b);
    });
  }

  private checkLeader(node: ScriptNode): void {
    const { role, term, id } = node.core;
    if (role !== 'leader') return;
    check((this.leaders.get(term) ?? id) === id, `one leader in term ${String(term)}`);
    this.leaders.set(term, id);
  }

  private checkCommit(node: ScriptNode): void {
    const { commit, lastIndex, id } = node.core;
    check(commit >= (this.commits.get(id) ?? 0), `commit of ${String(id)} moves back`);
    check(commit <= lastIndex, `commit of ${String(id)} is in its log`);
    this.commits.set(id, commit);
  }

  private checkStable(node: ScriptNode): void {
    const { stableIndex } = node.core.status();
    const terms = this.written.get(node.id) ?? new Map<number, number>();
    for (const [index, term] of terms) {
      if (index < node.storage.firstIndex() || index > stableIndex) continue;
      check(node.storage.term(index) === term, `entry ${String(index)} of ${String(node.id)} is not stable`);
    }
  }
}

function sameEntry(a: Entry, b: Entry): boolean {
  return a.term === b.term && a.index === b.index && a.type === b.type && a.data.equals(b.data);
}

/** Log matching (Raft §5.3), on what is stored. */
function checkLogsMatch(a: ScriptNode, b: ScriptNode): void {
  const other = new Map(b.storage.all().map((entry) => [entry.index, entry]));
  let agreed = false;
  for (const entry of [...a.storage.all()].reverse()) {
    const twin = other.get(entry.index);
    if (twin === undefined) continue;
    if (entry.term === twin.term) agreed = true;
    if (agreed) {
      check(sameEntry(entry, twin), `logs of ${String(a.id)} and ${String(b.id)} differ at ${String(entry.index)}`);
    }
  }
}
