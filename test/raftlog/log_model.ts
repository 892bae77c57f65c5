import { must } from '../../src/base/assert.js';
import type { Entry, HardState } from '../../src/raft/message.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { readAll } from './support.js';

/** What a log should hold: each group's state after some write() calls. */
export interface ModelGroup {
  readonly hardState: HardState | null;
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly entries: readonly Entry[];
}

export type Model = ReadonlyMap<number, ModelGroup>;

export function lastIndex(g: ModelGroup): number {
  return g.baseIndex + g.entries.length;
}

export function termAt(g: ModelGroup, index: number): number {
  return index === g.baseIndex ? g.baseTerm : must(g.entries[index - g.baseIndex - 1], 'model entry').term;
}

export function apply(model: Model, records: readonly LogRecord[]): Model {
  const next = new Map(model);
  for (const r of records) {
    const g = next.get(r.groupId);
    if (r.kind === 'drop') next.delete(r.groupId);
    else if (r.kind === 'reset') {
      const hardState = r.hardState ?? g?.hardState ?? null;
      next.set(r.groupId, { hardState, baseIndex: r.index, baseTerm: r.term, entries: [] });
    } else if (g === undefined) throw new Error('model group');
    else if (r.kind === 'compact') {
      const entries = g.entries.slice(r.index - g.baseIndex);
      next.set(r.groupId, { ...g, baseIndex: r.index, baseTerm: r.term, entries });
    } else {
      const kept = g.entries.slice(0, r.entries[0] === undefined ? undefined : r.entries[0].index - g.baseIndex - 1);
      next.set(r.groupId, { ...g, hardState: r.hardState ?? g.hardState, entries: [...kept, ...r.entries] });
    }
  }
  return next;
}

/** The whole log in text, one line a group. */
export async function describe(log: SegmentedLog): Promise<string> {
  const lines: string[] = [];
  for (const id of [...log.groupIds()].sort((a, b) => a - b)) {
    const g = must(log.group(id), 'group');
    lines.push(line(id, g.hardState, g.firstIndex() - 1, g.term(g.firstIndex() - 1), await readAll(log, id)));
  }
  return lines.join('\n');
}

function line(id: number, hs: HardState | null, base: number, baseTerm: number | string, entries: string[]): string {
  const state = hs === null ? '-' : `${hs.term}/${hs.vote}/${hs.commit}`;
  const short = entries.map((e) => (e.length > 24 ? `${e.slice(0, 8)}*${e.length}` : e));
  return `${id} ${state} ${base}@${baseTerm} ${short.join(' ')}`;
}

/** The same text of a model. */
export function describeModel(model: Model): string {
  return [...model.entries()]
    .sort(([a], [b]) => a - b)
    .map(([id, g]) =>
      line(
        id,
        g.hardState,
        g.baseIndex,
        g.baseTerm,
        g.entries.map((e) => `${e.term}:${e.data.toString()}`),
      ),
    )
    .join('\n');
}
