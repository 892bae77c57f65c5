import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import type { Entry } from '../../src/raft/message.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { MemoryDisk } from '../support/memory_disk.js';
import type { Model, ModelGroup } from './log_model.js';
import { apply, describe, describeModel, lastIndex, termAt } from './log_model.js';
import { openLog } from './support.js';

// It takes its time on a busy machine.
t.setTimeout(280_000);

/**
 * Random appends, truncations, compactions, resets, drops, loads, clean reopenings, killed processes and power cuts
 * over 100 groups, against a model. The log after a crash must be the model's state after some write() call: not before
 * the last acknowledged one, not after the last one made.
 */
const groupCount = 100;

function randomAppend(prng: Prng, groupId: number, g: ModelGroup): LogRecord {
  const replace = prng.chance(0.15);
  const first = replace ? prng.int(g.baseIndex + 1, lastIndex(g) + 1) : lastIndex(g) + 1;
  let term = Math.max(termAt(g, first - 1), g.entries.at(-1)?.term ?? g.baseTerm, 1) + (replace ? 1 : 0);
  const entries: Entry[] = [];
  for (let n = prng.int(0, 4); n > 0; n--) {
    if (prng.chance(0.05)) term += prng.int(1, 3);
    const length = prng.chance(0.02) ? prng.int(3000, 20_000) : prng.int(0, 120);
    const data = Buffer.alloc(length, prng.int(97, 122));
    entries.push({ index: first + entries.length, term, type: 0, data });
  }
  const hardState = prng.chance(0.3) ? { term, vote: prng.int(0, 5), commit: g.baseIndex } : null;
  return { kind: 'append', groupId, hardState, entries };
}

function randomRecord(prng: Prng, model: Model): LogRecord {
  const groupId = prng.int(1, groupCount);
  const g = model.get(groupId);
  const dice = prng.random();
  if (g === undefined || dice < 0.02) {
    const index = prng.int(0, 50);
    const hardState = prng.chance(0.5) ? { term: 4, vote: 0, commit: index } : null;
    return { kind: 'reset', groupId, index, term: index === 0 ? 0 : prng.int(1, 4), hardState };
  }
  if (dice < 0.03) return { kind: 'drop', groupId };
  if (dice < 0.3 && g.entries.length > 0) {
    const index = prng.int(g.baseIndex + 1, lastIndex(g));
    return { kind: 'compact', groupId, index, term: termAt(g, index) };
  }
  return randomAppend(prng, groupId, g);
}

class Run {
  readonly prng: Prng;
  readonly disk: MemoryDisk;
  /** states[i] is the model after i write() calls since the last opening; states[0] what was opened. */
  states: Model[] = [new Map()];
  acked = 0;
  fatal: Error | null = null;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.disk = new MemoryDisk({ prng: this.prng });
  }

  get model(): Model {
    return must(this.states.at(-1), 'model');
  }

  open(): Promise<SegmentedLog> {
    return openLog(this.disk.mount(), {
      segmentBytes: 16_384,
      cacheBytesMax: 32_768,
      onFatal: (e) => (this.fatal = e),
    });
  }

  write(log: SegmentedLog): Promise<void> {
    const records: LogRecord[] = [];
    let model = this.model;
    for (let n = this.prng.int(1, 6); n > 0; n--) {
      const record = randomRecord(this.prng, model);
      records.push(record);
      model = apply(model, [record]);
    }
    this.states.push(model);
    const mine = this.states.length - 1;
    return log.write(records).then(() => {
      this.acked = Math.max(this.acked, mine);
    });
  }

  /** One life of the log: writes until it is closed, killed or cut off. Returns how it ended. */
  async live(log: SegmentedLog): Promise<'closed' | 'killed' | 'cut'> {
    const end = this.prng.int(0, 2);
    if (end > 0) this.disk.crashAfter = this.prng.int(0, 120);
    const pending: Promise<void>[] = [];
    for (let n = this.prng.int(1, 60); n > 0; n--) {
      const written = this.write(log);
      // After the power is gone every write is refused; that is what the model expects, too.
      pending.push(written.catch(() => undefined));
      if (this.prng.chance(0.5)) await pending.at(-1);
      if (this.disk.crashAfter <= 0) break;
    }
    if (end === 0) {
      await Promise.all(pending);
      if (this.acked !== this.states.length - 1) throw this.fatal ?? new Error('a write failed without a cause');
      await log.close();
      return 'closed';
    }
    if (this.prng.chance(0.5)) await Promise.all(pending);
    if (end === 1) this.disk.killProcess();
    else this.disk.powerCut();
    await Promise.all(pending);
    return end === 1 ? 'killed' : 'cut';
  }

  /** Finds the state that the reopened log is in and goes on from it. */
  async check(log: SegmentedLog, how: string): Promise<string | null> {
    const found = await describe(log);
    const lowest = how === 'closed' ? this.states.length - 1 : this.acked;
    for (let i = this.states.length - 1; i >= lowest; i--) {
      const state = must(this.states[i], 'state');
      if (describeModel(state) !== found) continue;
      this.states = [state];
      this.acked = 0;
      return log.damaged.size === 0 ? null : `damaged: ${[...log.damaged].join(' ')}`;
    }
    const expected = describeModel(must(this.states[lowest], 'state')).split('\n');
    const lines = found.split('\n');
    const extra = lines.filter((l) => !expected.includes(l));
    return `after ${how}: found\n${extra.join('\n')}\nexpected\n${expected.filter((l) => !lines.includes(l)).join('\n')}`;
  }
}

const seeds = Number(process.env['SKERRY_SEEDS'] ?? 12);
const firstSeed = Number(process.env['SKERRY_SEED'] ?? 1);

void t.test('a log is what its acknowledged writes made it, through crashes and reopenings', async (t) => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const run = new Run(seed);
    let how = 'closed';
    let fault: string | null = null;
    for (let life = 0; life < 12 && fault === null; life++) {
      // Opening may be cut off, too.
      if (run.prng.chance(0.3)) {
        run.disk.crashAfter = run.prng.int(0, 12);
        const opened = await run.open().catch(() => null);
        if (opened !== null) {
          await opened.close().catch(() => undefined);
        }
        if (run.prng.chance(0.5)) run.disk.powerCut();
        else run.disk.killProcess();
      }
      const log = await run.open();
      fault = await run.check(log, how);
      if (fault === null) how = await run.live(log);
    }
    if (fault !== null) t.fail(`seed ${seed}: ${fault}`);
  }
  t.pass(`${seeds} seeds`);
});
