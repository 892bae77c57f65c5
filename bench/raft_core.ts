import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.js';
import type { Entry } from '../src/raft/message.js';
import type { RawNode } from '../src/raft/raw_node.js';
import { allocatedBytes } from './support/allocation.js';
import { machineShape } from './support/process_cpu.js';
import { electionTicks, heartbeatTicks, RaftGroup } from './support/raft_group.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * The Raft core alone: `npm run bench -- raft-core [--value BYTES] [--groups N] [--seconds S] [--runs N]`.
 *
 * Entries: three RawNodes in this process with logs in memory, the settings and the send policy of a store, async storage
 * writes that are done at once. A round is N proposals on the leader and then Readys and messages until none is
 * left. Beside it, in the same run, the same entries are made and appended to three plain arrays and nothing else.
 *
 * Ticks: groups of three replicas that have nothing to do and do not hibernate; one tick of N replicas as the host's ticker
 * does it. `due` are the ticks in which leaders make their heartbeats, the others are not.
 */

const batches = [1, 16, 256] as const;

interface Options {
  readonly valueBytes: number;
  readonly groups: number;
  readonly seconds: number;
  readonly runs: number;
}

interface EntryRun {
  readonly entriesPerSecond: number;
  readonly cpuUsPerEntry: number;
  readonly heapBytesPerEntry: number;
  /** Entries per second of the plain arrays. */
  readonly plainEntriesPerSecond: number;
}

/** Milliseconds of CPU for one tick of all replicas: on a shared machine the clock also counts what others do. */
interface TickRun {
  readonly idleMs: number;
  readonly dueMs: number;
}

const populations = ['leaders', 'followers', 'a third leaders'] as const;
type Population = (typeof populations)[number];

export function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      value: { type: 'string', default: '256' },
      groups: { type: 'string', default: '10000' },
      seconds: { type: 'string', default: '1' },
      runs: { type: 'string', default: '7' },
    },
  });
  const options: Options = {
    valueBytes: Number(values.value),
    groups: Number(values.groups),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
  };
  console.log(`machine: ${machineShape()}`);
  const entries = measureEntries(options);
  const ticks = measureTicks(options);
  report(options, entries, ticks);
  return Promise.resolve();
}

function measureEntries(options: Options): Map<number, EntryRun[]> {
  const payloads = Array.from({ length: 1024 }, (_, i) => Buffer.alloc(options.valueBytes, i));
  const group = new RaftGroup(1);
  for (const batch of batches) roundsFor(group, payloads, batch, options.seconds);
  const runs = new Map<number, EntryRun[]>(batches.map((batch) => [batch, []]));
  for (let i = 0; i < options.runs; i++) {
    for (const [batch, list] of runs) list.push(entryRun(group, payloads, batch, options.seconds));
  }
  return runs;
}

function entryRun(group: RaftGroup, payloads: readonly Buffer[], batch: number, seconds: number): EntryRun {
  const cpu = process.cpuUsage();
  const { rounds, elapsedSeconds } = roundsFor(group, payloads, batch, seconds);
  const used = process.cpuUsage(cpu);
  const entries = rounds * batch;
  const heapRounds = Math.ceil(200_000 / batch);
  const heapBytes = allocatedBytes(() => {
    for (let i = 0; i < heapRounds; i++) group.round(payloads, batch);
  });
  return {
    entriesPerSecond: entries / elapsedSeconds,
    cpuUsPerEntry: (used.user + used.system) / entries,
    heapBytesPerEntry: heapBytes / (heapRounds * batch),
    plainEntriesPerSecond: plainEntriesPerSecond(payloads, batch, seconds / 2),
  };
}

/** Rounds for some seconds; all of their entries are applied on all replicas at the end of the time counted. */
function roundsFor(
  group: RaftGroup,
  payloads: readonly Buffer[],
  batch: number,
  seconds: number,
): { rounds: number; elapsedSeconds: number } {
  const before = group.finish();
  const roundsPerLook = Math.ceil(4096 / batch);
  const start = performance.now();
  let rounds = 0;
  while (performance.now() - start < seconds * 1000) {
    for (let i = 0; i < roundsPerLook; i++) group.round(payloads, batch);
    rounds += roundsPerLook;
  }
  const entries = group.finish() - before;
  const elapsedSeconds = (performance.now() - start) / 1000;
  if (entries !== rounds * batch) throw new Error(`${entries} entries instead of ${rounds * batch}`);
  return { rounds, elapsedSeconds };
}

/** What no replication can beat: each entry made once and appended to three arrays, in batches, each array cut back as logs are. */
function plainEntriesPerSecond(payloads: readonly Buffer[], batch: number, seconds: number): number {
  const logs: Entry[][] = [[], [], []];
  const roundsPerLook = Math.ceil(4096 / batch);
  const start = performance.now();
  let index = 0;
  while (performance.now() - start < seconds * 1000) {
    for (let i = 0; i < roundsPerLook; i++) {
      const entries: Entry[] = [];
      for (let n = 0; n < batch; n++)
        entries.push({ term: 1, index: ++index, type: 0, data: must(payloads[n], 'data') });
      for (const log of logs) {
        for (const entry of entries) log.push(entry);
        if (log.length > 16384) log.splice(0, log.length - 8192);
      }
    }
  }
  return index / ((performance.now() - start) / 1000);
}

/** Groups that stay idle, in step with each other. */
class IdleGroups {
  private readonly groups: readonly RaftGroup[];
  private readonly every: readonly RawNode[];

  constructor(count: number) {
    this.groups = Array.from({ length: count }, (_, i) => new RaftGroup(i));
    this.every = this.groups.flatMap((group) => group.nodes);
    // Spreads the leaders' quorum checks over ticks, as they are on a store, and keeps heartbeats in one tick.
    this.groups.forEach((group, i) => {
      for (let n = i % (electionTicks / heartbeatTicks); n > 0; n--) {
        for (let t = 0; t < heartbeatTicks; t++) for (const node of group.nodes) node.tick();
        group.settle();
      }
    });
  }

  /** One replica of each group. */
  replicas(population: Population): RawNode[] {
    return this.groups.map((group, i) => {
      const leads = population === 'leaders' || (population === 'a third leaders' && i % 3 === 0);
      return must(group.nodes[leads ? 0 : 1 + (i % 2)], 'replica');
    });
  }

  /** Ticks everything, these replicas first and timed. Heartbeats are sent and answered afterwards, not timed. */
  run(timed: readonly RawNode[], ticks: number): TickRun {
    const chosen = new Set(timed);
    const rest = this.every.filter((node) => !chosen.has(node));
    let idleMs = 0;
    let dueMs = 0;
    for (let t = 1; t <= ticks; t++) {
      const before = process.cpuUsage();
      tickAsHost(timed);
      const used = process.cpuUsage(before);
      const ms = (used.user + used.system) / 1000;
      if (t % heartbeatTicks === 0) dueMs += ms;
      else idleMs += ms;
      tickAsHost(rest);
      for (const group of this.groups) group.settle();
    }
    return { idleMs: idleMs / (ticks / heartbeatTicks), dueMs: dueMs / (ticks / heartbeatTicks) };
  }
}

/** The ticker's loop over its groups (src/multiraft/ticker.ts). Replicas that have something to do. */
function tickAsHost(nodes: readonly RawNode[]): number {
  let dirty = 0;
  for (const node of nodes) if (node.tick() && node.hasReady()) dirty++;
  return dirty;
}

function measureTicks(options: Options): Map<Population, TickRun[]> {
  const idle = new IdleGroups(options.groups);
  const runs = new Map<Population, TickRun[]>(populations.map((population) => [population, []]));
  const ticksPerRun = electionTicks * heartbeatTicks * 2;
  for (const population of populations) idle.run(idle.replicas(population), ticksPerRun);
  for (let i = 0; i < options.runs; i++) {
    for (const [population, list] of runs) list.push(idle.run(idle.replicas(population), ticksPerRun));
  }
  return runs;
}

function report(
  options: Options,
  entries: ReadonlyMap<number, readonly EntryRun[]>,
  ticks: ReadonlyMap<Population, readonly TickRun[]>,
): void {
  const line = (name: string, values: readonly number[], decimals: number): void =>
    console.log(`  ${name.padEnd(34)} ${showSpread(spreadOf(values), decimals)}`);
  console.log(`\nmedian (min to max) over ${options.runs} runs of ${options.seconds} s`);
  for (const [batch, runs] of entries) {
    console.log(`three replicas, no I/O, ${options.valueBytes}-byte payloads, ${batch} per Ready`);
    line(
      'entries/s',
      runs.map((r) => r.entriesPerSecond),
      0,
    );
    line(
      'CPU us per entry, all replicas',
      runs.map((r) => r.cpuUsPerEntry),
      3,
    );
    line(
      'heap bytes allocated per entry',
      runs.map((r) => r.heapBytesPerEntry),
      0,
    );
    line(
      'of three plain arrays',
      runs.map((r) => r.entriesPerSecond / r.plainEntriesPerSecond),
      3,
    );
  }
  for (const [population, runs] of ticks) {
    console.log(`one tick of ${options.groups.toLocaleString('en-US')} idle replicas: ${population}`);
    line(
      'CPU ms, no heartbeat due',
      runs.map((r) => r.idleMs),
      2,
    );
    line(
      'CPU ms, heartbeats due',
      runs.map((r) => r.dueMs),
      2,
    );
  }
  mkdirSync('bench-results', { recursive: true });
  const file = 'bench-results/raft-core.json';
  const json = {
    machine: machineShape(),
    options,
    entries: Object.fromEntries(entries),
    ticks: Object.fromEntries(ticks),
  };
  writeFileSync(file, JSON.stringify(json, null, 2));
  console.log(`report: ${file}`);
}
