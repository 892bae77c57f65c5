import { ConfChangeTransition } from '../../src/raft/conf_change.js';
import { isVoter, normalConfState } from '../../src/raft/conf_state.js';
import { emptyBuffer, MsgType } from '../../src/raft/message.js';
import type { ProposeResult } from '../../src/raft/ready.js';
import { Cluster } from './cluster.js';
import { parseOperations } from './operations.js';
import type { Argument, Directive } from './script.js';
import { electionTick } from './script_node.js';
import type { NodeOptions, ScriptNode } from './script_node.js';
import { ScriptStorageError } from './script_storage.js';
import { entryText, progressText, roleText } from './text.js';

/* interaction/*.txt (FORMAT.md sections 2 to 8). */

/** What a directive answers with instead of, or after, its output. */
class CommandError extends Error {}

export class InteractionFile {
  private readonly cluster = new Cluster();

  /** Runs a directive and checks the invariants; throws when one is broken or the directive makes no sense. */
  run(d: Directive): string {
    const { cluster } = this;
    cluster.output.reset();
    let error: string | null = null;
    try {
      this.execute(d);
    } catch (e) {
      if (!(e instanceof CommandError || e instanceof ScriptStorageError)) throw e;
      error = e.message;
    }
    cluster.invariants.afterDirective(cluster.nodes);
    return cluster.output.result(error);
  }

  private execute(d: Directive): void {
    const command = commands.get(d.command);
    if (command === undefined) throw new Error(`unknown command ${d.command}`);
    command(this.cluster, d);
  }
}

type Command = (cluster: Cluster, d: Directive) => void;

function bare(d: Directive): string[] {
  return d.args.filter((a) => a.values.length === 0).map((a) => a.key);
}

function ids(d: Directive): number[] {
  return bare(d).map(Number);
}

function value(d: Directive, key: string): string | undefined {
  return d.args.find((a) => a.key === key)?.values[0];
}

function list(d: Directive, key: string): readonly number[] {
  return (d.args.find((a) => a.key === key)?.values ?? []).map(Number);
}

/** The node that a directive's first argument names. */
function nodeOf(cluster: Cluster, d: Directive): ScriptNode {
  return cluster.node(ids(d)[0] ?? 0);
}

function nodesOf(cluster: Cluster, d: Directive): ScriptNode[] {
  return ids(d).map((id) => cluster.node(id));
}

const onNode =
  (f: (node: ScriptNode, d: Directive) => void): Command =>
  (cluster, d) =>
    f(nodeOf(cluster, d), d);

/** With several nodes each has a header and is indented. */
const onNodes =
  (header: string, f: (cluster: Cluster, node: ScriptNode) => void): Command =>
  (cluster, d) => {
    const nodes = nodesOf(cluster, d);
    const [only] = nodes;
    if (nodes.length === 1 && only !== undefined) f(cluster, only);
    else for (const node of nodes) cluster.section(`> ${String(node.id)} ${header}`, () => f(cluster, node));
  };

const commands = new Map<string, Command>([
  ['log-level', (cluster, d) => cluster.output.setLevel(bare(d)[0] ?? '')],
  ['add-nodes', addNodes],
  ['campaign', onNode((node) => node.core.campaign())],
  ['tick-heartbeat', onNode((node) => node.core.tick())],
  [
    'tick-election',
    onNode((node) => {
      for (let i = 0; i < electionTick; i++) node.core.tick();
    }),
  ],
  [
    'set-randomized-election-timeout',
    onNode((node, d) => node.core.overrideElectionTimeout(Number(value(d, 'timeout')))),
  ],
  ['propose', onNode((node, d) => answer(node.core.propose(Buffer.from(bare(d)[1] ?? ''))))],
  ['propose-conf-change', onNode(proposeConfChange)],
  ['process-ready', onNodes('handling Ready', (cluster, node) => cluster.processReady(node))],
  ['process-append-thread', onNodes('processing append thread', (cluster, node) => cluster.processAppendThread(node))],
  ['process-apply-thread', onNodes('processing apply thread', (cluster, node) => cluster.processApplyThread(node))],
  ['deliver-msgs', deliver],
  ['stabilize', stabilize],
  ['raft-log', (cluster, d) => showLog(cluster, nodeOf(cluster, d))],
  ['raft-state', showState],
  ['status', showStatus],
  [
    'compact',
    (cluster, d) => {
      const node = nodeOf(cluster, d);
      node.storage.compact(ids(d)[1] ?? 0);
      showLog(cluster, node);
    },
  ],
  [
    'transfer-leadership',
    (cluster, d) => cluster.node(Number(value(d, 'from'))).core.transferLeader(Number(value(d, 'to'))),
  ],
  ['forget-leader', onNode((node) => node.core.forgetLeader())],
  ['report-unreachable', onNode((node, d) => node.core.reportUnreachable(ids(d)[1] ?? 0))],
  ['send-snapshot', (cluster, d) => cluster.sendSnapshot(ids(d)[0] ?? 0, ids(d)[1] ?? 0)],
]);

function addNodes(cluster: Cluster, d: Directive): void {
  const flag = (key: string): boolean => value(d, key) === 'true';
  const bootstrapped = ['voters', 'learners', 'index', 'content'].some((key) => d.args.some((a) => a.key === key));
  const index = Number(value(d, 'index') ?? 0);
  if (bootstrapped && index <= 1) throw new CommandError('index must be specified as > 1 due to bootstrap');
  const confState = normalConfState({
    voters: list(d, 'voters'),
    votersOutgoing: [],
    learners: list(d, 'learners'),
    learnersNext: [],
    autoLeave: false,
  });
  const options: NodeOptions = {
    bootstrap: bootstrapped ? { index, term: 1, confState } : null,
    inflight: Number(value(d, 'inflight') ?? 2 ** 31 - 1),
    asyncStorageWrites: flag('async-storage-writes'),
    preVote: flag('prevote'),
    checkQuorum: flag('checkquorum'),
    stepDownOnRemoval: flag('step-down-on-removal'),
    disableConfChangeValidation: flag('disable-conf-change-validation'),
    maxCommittedSizePerReady: Number(value(d, 'max-committed-size-per-ready') ?? Infinity),
    readOnlyOption: value(d, 'read-only') === 'lease-based' ? 'leaseBased' : 'safe',
  };
  for (let i = 0; i < (ids(d)[0] ?? 0); i++) cluster.add(options);
}

const transitions = new Map<string, ConfChangeTransition>([
  ['auto', ConfChangeTransition.Auto],
  ['implicit', ConfChangeTransition.JointImplicit],
  ['explicit', ConfChangeTransition.JointExplicit],
]);

function proposeConfChange(node: ScriptNode, d: Directive): void {
  const changes = parseOperations(d.input);
  const v1 = value(d, 'v1') === 'true';
  const named = value(d, 'transition');
  if (v1 && (changes.length !== 1 || named !== undefined)) {
    throw new CommandError('v1 conf change can only have one operation and no transition');
  }
  const transition = transitions.get(named ?? 'auto');
  if (transition === undefined) throw new Error(`unknown transition ${String(named)}`);
  answer(node.core.proposeConfChange({ transition, changes, context: emptyBuffer }, v1 ? 'v1' : 'v2'));
}

function answer(result: ProposeResult): void {
  if (!result.ok) throw new CommandError('raft proposal dropped');
}

const messageTypes: ReadonlyMap<string, MsgType> = new Map(Object.entries(MsgType));

function deliver(cluster: Cluster, d: Directive): void {
  const typeName = value(d, 'type');
  const type = typeName === undefined ? null : messageTypes.get(typeName);
  if (type === undefined) throw new Error(`unknown message type ${String(typeName)}`);
  const handle = (a: Argument): number => {
    if (a.key === 'drop') return a.values.reduce((sum, id) => sum + cluster.deliver(Number(id), true, type), 0);
    return a.values.length === 0 ? cluster.deliver(Number(a.key), false, type) : 0;
  };
  const handled = d.args.map(handle).reduce((a, b) => a + b, 0);
  if (handled === 0) cluster.output.write('no messages\n');
}

function stabilize(cluster: Cluster, d: Directive): void {
  const named = nodesOf(cluster, d);
  const nodes = named.length > 0 ? named : cluster.nodes;
  const level = value(d, 'log-level');
  if (level === undefined) cluster.stabilize(nodes);
  else cluster.output.withLevel(level, () => cluster.stabilize(nodes));
}

function showLog(cluster: Cluster, node: ScriptNode): void {
  const entries = node.storage.all();
  if (entries.length === 0) {
    const first = String(node.storage.firstIndex());
    const last = String(node.storage.lastIndex());
    cluster.output.write(`log is empty: first index=${first}, last index=${last}`);
  }
  for (const entry of entries) cluster.output.write(`${entryText(entry)}\n`);
}

function showState(cluster: Cluster): void {
  for (const { id, core } of cluster.nodes) {
    const voter = isVoter(core.confState, id) ? 'Voter' : 'Non-Voter';
    const lead = `Term:${String(core.term)} Lead:${String(core.leaderId)}`;
    cluster.output.write(`${String(id)}: ${roleText(core.role)} (${voter}) ${lead}\n`);
  }
}

function showStatus(cluster: Cluster, d: Directive): void {
  const { progress } = nodeOf(cluster, d).core.status();
  for (const [id, peer] of progress) cluster.output.write(`${String(id)}: ${progressText(peer)}\n`);
}
