import { appendThread, applyThread, MsgType, newMessage } from '../../src/raft/message.js';
import type { Message } from '../../src/raft/message.js';
import { must } from '../../src/base/assert.js';
import { Invariants } from './invariants.js';
import { Output } from './output.js';
import { ScriptNode } from './script_node.js';
import type { NodeOptions } from './script_node.js';
import { messageText, readyText } from './text.js';

const stepErrors = {
  peerNotFound: 'raft: cannot step as peer not found',
  localMessage: 'raft: cannot step raft local message',
  dropped: 'raft proposal dropped',
} as const;

/** All nodes of one interaction file and the network between them (FORMAT.md sections 2, 6 and 7). */
export class Cluster {
  readonly nodes: ScriptNode[] = [];
  readonly output = new Output();
  readonly invariants = new Invariants();
  private network: Message[] = [];

  add(options: NodeOptions): void {
    const node = new ScriptNode(this.nodes.length + 1, options);
    node.onApply = (entry) => this.invariants.applies(node, entry);
    this.nodes.push(node);
  }

  node(id: number): ScriptNode {
    return must(this.nodes[id - 1], `node ${String(id)}`);
  }

  private enqueue(node: ScriptNode, m: Message): void {
    this.invariants.sends(node, m);
    this.network.push(m);
  }

  processReady(node: ScriptNode): void {
    const { core } = node;
    const ready = core.ready();
    this.output.write(readyText(ready));
    this.invariants.handsOut(node, ready.entries, ready.snapshot);
    if (!node.async) {
      node.persist(ready.hardState, ready.entries, ready.snapshot);
      node.apply(ready.committedEntries);
    }
    for (const m of ready.messages) {
      if (m.to === appendThread) node.appendQueue.push(m);
      else if (m.to === applyThread) node.applyQueue.push(m);
      else this.enqueue(node, m);
    }
    if (!node.async) core.advance();
  }

  processAppendThread(node: ScriptNode): void {
    this.processStorageMessage(node, node.appendQueue.shift(), 'no append work to perform', (m) => {
      const hardState = { term: m.term, vote: m.vote, commit: m.commit };
      const empty = m.term === 0 && m.vote === 0 && m.commit === 0;
      node.persist(empty ? null : hardState, m.entries, m.snapshot);
    });
  }

  processApplyThread(node: ScriptNode): void {
    this.processStorageMessage(node, node.applyQueue.shift(), 'no apply work to perform', (m) => node.apply(m.entries));
  }

  private processStorageMessage(
    node: ScriptNode,
    m: Message | undefined,
    nothing: string,
    work: (m: Message) => void,
  ): void {
    if (m === undefined) {
      this.output.write(nothing);
      return;
    }
    this.output.write(`Processing:\n${messageText({ ...m, responses: [] })}\n`);
    work(m);
    this.output.write('Responses:\n');
    for (const response of m.responses) this.output.write(`${messageText(response)}\n`);
    for (const response of m.responses) this.enqueue(node, response);
  }

  /** Delivers or drops what is on its way to one node; the number of messages handled. */
  deliver(to: number, drop: boolean, type: MsgType | null): number {
    const taken: Message[] = [];
    const left: Message[] = [];
    for (const m of this.network) {
      const wanted = m.to === to && (type === null || m.type === type) && !(drop && isLocal(m));
      (wanted ? taken : left).push(m);
    }
    this.network = left;
    for (const m of taken) {
      this.output.write(`${drop ? 'dropped: ' : ''}${messageText(m)}\n`);
      if (drop) continue;
      const result = this.node(to).core.step(m);
      // Other messages that come to nothing are no error of the sender's (FORMAT.md, deliver-msgs).
      const told = !result.ok && (result.reason !== 'dropped' || m.type === MsgType.MsgProp);
      if (told) this.output.write(`${stepErrors[result.reason]}\n`);
    }
    return taken.length;
  }

  sendSnapshot(from: number, to: number): void {
    const node = this.node(from);
    const m = newMessage(MsgType.MsgSnap, from, to);
    m.term = node.core.term;
    m.snapshot = node.storage.snapshot();
    this.enqueue(node, m);
    this.output.write(messageText(m));
  }

  stabilize(nodes: readonly ScriptNode[]): void {
    let busy = true;
    while (busy) {
      busy = false;
      for (const node of nodes.filter((n) => n.core.hasReady())) {
        busy = true;
        this.section(`> ${String(node.id)} handling Ready`, () => this.processReady(node));
      }
      for (const node of nodes.filter((n) => this.network.some((m) => m.to === n.id))) {
        busy = true;
        this.section(`> ${String(node.id)} receiving messages`, () => void this.deliver(node.id, false, null));
      }
      for (const node of nodes.filter((n) => n.appendQueue.length > 0)) {
        busy = true;
        this.section(`> ${String(node.id)} processing append thread`, () => {
          while (node.appendQueue.length > 0) this.processAppendThread(node);
        });
      }
      for (const node of nodes.filter((n) => n.applyQueue.length > 0)) {
        busy = true;
        this.section(`> ${String(node.id)} processing apply thread`, () => {
          while (node.applyQueue.length > 0) this.processApplyThread(node);
        });
      }
    }
  }

  section(header: string, f: () => void): void {
    this.output.write(`${header}\n`);
    this.output.indent(f);
  }
}

/** Never leaves its node. */
function isLocal(m: Message): boolean {
  return [m.from, m.to].some((id) => id === appendThread || id === applyThread) || m.from === m.to;
}
