import { decodeConfChange } from '../../src/raft/conf_change_codec.js';
import { ConfChangeType } from '../../src/raft/conf_change.js';
import type { ConfChangeSingle } from '../../src/raft/conf_change.js';
import { appendThread, applyThread, EntryType, MsgType } from '../../src/raft/message.js';
import type { ConfState, Entry, HardState, Message, MsgTypeName, SnapshotMeta } from '../../src/raft/message.js';
import type { PeerStatus, ProgressStateName, Ready, Role, SoftState } from '../../src/raft/ready.js';

/* What cores and messages look like in the conformance files (FORMAT.md section 5). */

const roleNames: Readonly<Record<Role, string>> = {
  follower: 'StateFollower',
  preCandidate: 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
};

const stateNames: Readonly<Record<ProgressStateName, string>> = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot',
};

const typeNames = new Map<number, string>((Object.keys(MsgType) as MsgTypeName[]).map((name) => [MsgType[name], name]));

const operationLetters = new Map<ConfChangeType, string>([
  [ConfChangeType.AddNode, 'v'],
  [ConfChangeType.AddLearnerNode, 'l'],
  [ConfChangeType.RemoveNode, 'r'],
  [ConfChangeType.UpdateNode, 'u'],
]);

export function roleText(role: Role): string {
  return roleNames[role];
}

export function messageTypeText(type: MsgType): string {
  return typeNames.get(type) ?? '?';
}

export function targetText(id: number): string {
  if (id === 0) return 'None';
  if (id === appendThread) return 'AppendThread';
  if (id === applyThread) return 'ApplyThread';
  return id.toString(16);
}

export function softStateText(s: SoftState): string {
  return `Lead:${String(s.leaderId)} State:${roleText(s.role)}`;
}

export function hardStateText(h: HardState): string {
  const vote = h.vote === 0 ? '' : ` Vote:${String(h.vote)}`;
  return `Term:${String(h.term)}${vote} Commit:${String(h.commit)}`;
}

export function confStateText(c: ConfState): string {
  const list = (ids: readonly number[]): string => `[${ids.join(' ')}]`;
  return (
    `Voters:${list(c.voters)} VotersOutgoing:${list(c.votersOutgoing)} Learners:${list(c.learners)} ` +
    `LearnersNext:${list(c.learnersNext)} AutoLeave:${String(c.autoLeave)}`
  );
}

export function snapshotText(s: SnapshotMeta): string {
  return `Index:${String(s.index)} Term:${String(s.term)} ConfState:${confStateText(s.confState)}`;
}

/** The form used in confchange files. */
export function configurationText(c: ConfState): string {
  const list = (ids: readonly number[]): string => `(${ids.map((id) => id.toString(16)).join(' ')})`;
  let text = `voters=${list(c.voters)}`;
  if (c.votersOutgoing.length > 0) text += `&&${list(c.votersOutgoing)}`;
  if (c.learners.length > 0) text += ` learners=${list(c.learners)}`;
  if (c.learnersNext.length > 0) text += ` learners_next=${list(c.learnersNext)}`;
  return c.autoLeave ? `${text} autoleave` : text;
}

export function operationsText(changes: readonly ConfChangeSingle[]): string {
  return changes.map((c) => `${operationLetters.get(c.type) ?? '?'}${String(c.replicaId)}`).join(' ');
}

export function entryText(e: Entry): string {
  const head = `${String(e.term)}/${String(e.index)}`;
  if (e.type === EntryType.EntryNormal) return `${head} EntryNormal ${quoted(e.data)}`;
  const type = e.type === EntryType.EntryConfChange ? 'EntryConfChange' : 'EntryConfChangeV2';
  const change = decodeConfChange(e.data);
  const operations = change === null ? '(unreadable)' : operationsText(change.changes);
  return operations === '' ? `${head} ${type}` : `${head} ${type} ${operations}`;
}

const escapes = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\x07', '\\a'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\v', '\\v'],
]);

function quoted(data: Buffer): string {
  let text = '';
  for (const c of data.toString('utf8')) {
    const code = c.codePointAt(0) ?? 0;
    text += escapes.get(c) ?? (code < 0x20 || code === 0x7f ? `\\x${code.toString(16).padStart(2, '0')}` : c);
  }
  return `"${text}"`;
}

/** One message; several lines joined by newlines, without one at the end. */
export function messageText(m: Message, indent = ''): string {
  const parts = [
    `${indent}${targetText(m.from)}->${targetText(m.to)} ${messageTypeText(m.type)} ` +
      `Term:${String(m.term)} Log:${String(m.logTerm)}/${String(m.index)}`,
  ];
  if (m.reject) parts.push(` Rejected (Hint: ${String(m.rejectHint)})`);
  if (m.commit !== 0) parts.push(` Commit:${String(m.commit)}`);
  if (m.vote !== 0) parts.push(` Vote:${String(m.vote)}`);
  const [first] = m.entries;
  if (first !== undefined && m.entries.length === 1) parts.push(` Entries:[${entryText(first)}]`);
  if (m.entries.length > 1) {
    const lines = m.entries.map((e) => `${indent}  ${entryText(e)}\n`);
    parts.push(` Entries:[\n${lines.join('')}${indent}]`);
  }
  if (m.snapshot !== null && m.snapshot.index > 0) parts.push(`\n${indent}  Snapshot: ${snapshotText(m.snapshot)}`);
  if (m.responses.length > 0) {
    const lines = m.responses.map((r) => `${messageText(r, `${indent}  `)}\n`);
    parts.push(` Responses:[\n${lines.join('')}${indent}]`);
  }
  return parts.join('');
}

/** Ends with a newline unless the Ready is empty. */
export function readyText(r: Ready): string {
  const lines: string[] = [];
  if (r.softState !== null) lines.push(softStateText(r.softState));
  if (r.hardState !== null) lines.push(`HardState ${hardStateText(r.hardState)}`);
  if (r.readStates.length > 0) lines.push(`ReadStates ${JSON.stringify(r.readStates)}`);
  if (r.entries.length > 0) lines.push('Entries:', ...r.entries.map(entryText));
  if (r.snapshot !== null) lines.push(`Snapshot ${snapshotText(r.snapshot)}`);
  if (r.committedEntries.length > 0) lines.push('CommittedEntries:', ...r.committedEntries.map(entryText));
  if (r.messages.length > 0) lines.push('Messages:', ...r.messages.map((m) => messageText(m)));
  if (lines.length === 0) return '<empty Ready>';
  return [`Ready MustSync=${String(r.mustSync)}:`, ...lines].map((line) => `${line}\n`).join('');
}

export type ProgressText = Pick<
  PeerStatus,
  | 'state'
  | 'match'
  | 'next'
  | 'learner'
  | 'paused'
  | 'pendingSnapshot'
  | 'recentActive'
  | 'inflightMsgs'
  | 'inflightFull'
>;

export function progressText(p: ProgressText): string {
  let text = `${stateNames[p.state]} match=${String(p.match)} next=${String(p.next)}`;
  if (p.learner) text += ' learner';
  if (p.paused) text += ' paused';
  if (p.pendingSnapshot > 0) text += ` pendingSnap=${String(p.pendingSnapshot)}`;
  if (!p.recentActive) text += ' inactive';
  if (p.inflightMsgs > 0) text += ` inflight=${String(p.inflightMsgs)}`;
  return p.inflightMsgs > 0 && p.inflightFull ? `${text}[full]` : text;
}
