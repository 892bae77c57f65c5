import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.js';
import type { Group } from '../src/multiraft/host.js';
import { HostTrio } from './support/host_trio.js';
import { machineShape } from './support/process_cpu.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * The multi-group host without disks and sockets:
 * `npm run bench -- multiraft [--clients N] [--groups N] [--idle N] [--quiet TICKS] [--value BYTES] [--seconds S] [--runs N]`.
 *
 * Three hosts share this process: real turns, transports and codecs over links, logs and engines in memory. `clients` proposals are
 * outstanding over `groups` groups, a new one for each that is answered. CPU is that of all three hosts. Then the same
 * hosts with `idle` groups that have nothing to do and hibernate after `quiet` ticks (0: never): the ticker's walk alone, a whole tick
 * with all that follows from it, and, under node --expose-gc with --seconds 0, the heap that a replica takes.
 */

interface Options {
  readonly clients: number;
  readonly groups: number;
  readonly idle: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly runs: number;
}

interface ProposalRun {
  readonly proposalsPerSecond: number;
  readonly cpuUsPerProposal: number;
  readonly commandsPerEntry: number;
}

/** Hosts with idle groups. */
interface IdleRun {
  readonly ticks: readonly TickRun[];
  readonly hibernating: number;
  /** Heap of this process per replica, all three hosts; null: run with --expose-gc to see it. */
  readonly heapBytesPerReplica: number | null;
}

interface TickRun {
  /** CPU of one host's walk over its groups. */
  readonly walkMs: number;
  /** CPU per host and tick with everything: heartbeats made, sent, answered. */
  readonly wholeMs: number;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      clients: { type: 'string', default: '256' },
      groups: { type: 'string', default: '64' },
      idle: { type: 'string', default: '10000' },
      value: { type: 'string', default: '256' },
      seconds: { type: 'string', default: '2' },
      runs: { type: 'string', default: '7' },
      quiet: { type: 'string', default: '5' },
    },
  });
  const options: Options = {
    clients: Number(values.clients),
    groups: Number(values.groups),
    idle: Number(values.idle),
    valueBytes: Number(values.value),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
  };
  console.log(`machine: ${machineShape()}`);
  const proposals = options.seconds === 0 ? [] : await measureProposals(options);
  const idle = options.idle === 0 ? [] : [await measureIdle(options, Number(values.quiet))];
  report(options, proposals, idle);
}

async function measureProposals(options: Options): Promise<ProposalRun[]> {
  const trio = await HostTrio.start(options.groups);
  const leaders = trio.leaders().map((leader) => must(leader, 'leader'));
  await proposalRun(trio, leaders, options);
  const runs: ProposalRun[] = [];
  for (let i = 0; i < options.runs; i++) runs.push(await proposalRun(trio, leaders, options));
  await trio.close();
  return runs;
}

async function proposalRun(trio: HostTrio, leaders: readonly Group[], options: Options): Promise<ProposalRun> {
  const value = Buffer.alloc(options.valueBytes, 7);
  const entries = (): number => trio.hosts.reduce((sum, host) => sum + host.stats().entriesProposed, 0);
  const entriesBefore = entries();
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + options.seconds * 1000;
  let done = 0;
  let outstanding = options.clients;
  const ended = new Promise<void>((resolve, reject) => {
    const propose = (leader: Group): void => {
      leader.propose(1, value, (outcome) => {
        if (outcome.status !== 'applied') {
          reject(new Error(outcome.status));
          return;
        }
        done++;
        if (performance.now() < end) propose(leader);
        else if (--outstanding === 0) resolve();
      });
    };
    for (let i = 0; i < options.clients; i++) propose(must(leaders[i % leaders.length], 'leader'));
  });
  // The hosts' clocks go on under load, as they do on a store.
  const ticker = setInterval(() => trio.tickOnly(), 100);
  await ended;
  clearInterval(ticker);
  const used = process.cpuUsage(cpu);
  return {
    proposalsPerSecond: done / ((performance.now() - start) / 1000),
    cpuUsPerProposal: (used.user + used.system) / done,
    commandsPerEntry: done / (entries() - entriesBefore),
  };
}

/** With `hibernateAfterTicks` 0 the groups stay awake. */
async function measureIdle(options: Options, hibernateAfterTicks: number): Promise<IdleRun> {
  const heapBefore = heapBytes();
  const trio = await HostTrio.start(options.idle, { hibernateAfterTicks });
  const ticksPerRun = 20;
  for (let i = 0; i < ticksPerRun; i++) await trio.tick();
  const hibernating = trio.hosts.reduce((sum, host) => sum + host.stats().hibernating, 0);
  const runs: TickRun[] = [];
  for (let i = 0; i < options.runs; i++) {
    let walkMs = 0;
    const cpu = process.cpuUsage();
    for (let t = 0; t < ticksPerRun; t++) {
      walkMs += trio.tickOnly();
      await trio.settle();
    }
    const used = process.cpuUsage(cpu);
    const wholeMs = (used.user + used.system) / 1000 / trio.hosts.length;
    runs.push({ walkMs: walkMs / ticksPerRun, wholeMs: wholeMs / ticksPerRun });
  }
  const heapAfter = heapBytes();
  const replicas = options.idle * trio.hosts.length;
  await trio.close();
  const heapBytesPerReplica = heapBefore === null || heapAfter === null ? null : (heapAfter - heapBefore) / replicas;
  return { ticks: runs, hibernating, heapBytesPerReplica };
}

function heapBytes(): number | null {
  if (globalThis.gc === undefined) return null;
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

function report(options: Options, proposals: readonly ProposalRun[], idleRuns: readonly IdleRun[]): void {
  const line = (name: string, values: readonly number[], decimals: number): void =>
    console.log(`  ${name.padEnd(34)} ${showSpread(spreadOf(values), decimals)}`);
  const { clients, groups, idle, valueBytes, runs, seconds } = options;
  console.log(`\nmedian (min to max) over ${runs} runs of ${seconds} s; three hosts in one process`);
  console.log(`${clients} proposals of ${valueBytes} bytes outstanding over ${groups} groups`);
  line(
    'proposals/s',
    proposals.map((r) => r.proposalsPerSecond),
    0,
  );
  line(
    'CPU us per proposal, all hosts',
    proposals.map((r) => r.cpuUsPerProposal),
    2,
  );
  line(
    'proposals per entry',
    proposals.map((r) => r.commandsPerEntry),
    1,
  );
  for (const run of idleRuns) {
    const { ticks, hibernating, heapBytesPerReplica } = run;
    console.log(
      `one tick of ${idle.toLocaleString('en-US')} idle groups, a third of them led by the host, ${hibernating} replicas of 3 hosts hibernate`,
    );
    line(
      'CPU ms per host, the walk',
      ticks.map((r) => r.walkMs),
      2,
    );
    line(
      'CPU ms per host, with heartbeats',
      ticks.map((r) => r.wholeMs),
      2,
    );
    if (heapBytesPerReplica !== null)
      console.log(`  ${'heap bytes per replica'.padEnd(34)} ${heapBytesPerReplica.toFixed(0)}`);
  }
  mkdirSync('bench-results', { recursive: true });
  const file = 'bench-results/multiraft.json';
  writeFileSync(file, JSON.stringify({ machine: machineShape(), options, proposals, idle: idleRuns }, null, 2));
  console.log(`report: ${file}`);
}
