import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { loadavg } from 'node:os';
import { machineShape } from './process_cpu.js';
import { showSpread, spreadOf } from './spread.js';

/** What one run measured, by name. Units are the last word of a name. */
export type Figures = Readonly<Record<string, number>>;

/**
 * The report of a workload: figures per run, in groups of runs under the same conditions ("256 shards", "etcd"). Printed as
 * median (minimum to maximum), and written as JSON with every run.
 */
export class Report {
  private readonly workload: string;
  private readonly options: object;
  private readonly groups = new Map<string, Figures[]>();
  private readonly notes: string[] = [];
  private readonly loadBefore = loadavg()[0] ?? NaN;

  constructor(workload: string, options: object) {
    this.workload = workload;
    this.options = options;
    console.log(`machine: ${machineShape()}, load average ${this.loadBefore.toFixed(1)} before`);
  }

  /** Takes one run and says its first figure. */
  add(group: string, figures: Figures): void {
    const runs = this.groups.get(group) ?? [];
    runs.push(figures);
    this.groups.set(group, runs);
    const [name = '', value = NaN] = Object.entries(figures)[0] ?? [];
    console.log(`${group}, run ${runs.length}: ${name} ${showNumber(value)}`);
  }

  /** The median of one figure over the runs of a group; NaN without runs. */
  median(group: string, figure: string): number {
    const values = (this.groups.get(group) ?? []).map((run) => run[figure] ?? NaN);
    return values.length === 0 ? NaN : spreadOf(values).median;
  }

  /** A line for the end of the report. */
  note(line: string): void {
    this.notes.push(line);
  }

  /** Prints everything and writes the JSON file; '' writes none. */
  finish(file: string): void {
    for (const [group, runs] of this.groups) {
      console.log(`\n${this.workload}, ${group}: median (min to max) over ${runs.length} runs`);
      for (const name of Object.keys(runs[0] ?? {})) {
        const spread = spreadOf(runs.map((run) => run[name] ?? NaN));
        console.log(`${name.padEnd(36)} ${showSpread(spread, decimalsFor(spread.median))}`);
      }
    }
    if (this.notes.length > 0) console.log(`\n${this.notes.join('\n')}`);
    if (file === '') return;
    mkdirSync(dirname(file), { recursive: true });
    const load = { before: this.loadBefore, after: loadavg()[0] };
    const { workload, options, notes } = this;
    const groups = Object.fromEntries(this.groups);
    writeFileSync(
      file,
      `${JSON.stringify({ workload, machine: machineShape(), load, options, groups, notes }, null, 2)}\n`,
    );
    console.log(`\nreport: ${file}`);
  }
}

function decimalsFor(value: number): number {
  const size = Math.abs(value);
  return size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
}

function showNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: decimalsFor(value) });
}
