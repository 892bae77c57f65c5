import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { plainRules } from '../../../placement/rules/placement_rules.js';
import type { LabelRule, PlacementRules } from '../../../placement/rules/placement_rules.js';
import type { ReplicaSpec, ShardSpec, StoreSpec, ViewSpec } from './fixed_view.js';

/** The files under test/placement/cases, as its FORMAT.md describes them. Anything that the format does not know is an error. */
const directory = join('test', 'placement', 'cases');

const labels = z.record(z.string(), z.union([z.string(), z.array(z.string())]));
const rulesSchema = z.strictObject({
  voters: z.int(),
  on: labels.optional(),
  spread: z.string().optional(),
  over: z.int().optional(),
  leader: labels.optional(),
  learners: z.array(z.strictObject({ count: z.int(), on: labels.optional() })).optional(),
});
const shardSchema = z.strictObject({
  replicas: z.string(),
  leader: z.int().optional(),
  target: z.strictObject({ voters: z.int(), learners: z.array(z.int()).optional() }).optional(),
  keyspace: z.int().optional(),
  bytes: z.string().optional(),
  keys: z.int().optional(),
  reads: z.int().optional(),
  writes: z.int().optional(),
  times: z.int().optional(),
});
const caseSchema = z.strictObject({
  name: z.string(),
  stores: z.array(z.string()),
  shards: z.array(z.union([z.string(), shardSchema])),
  replicaCount: z.int().optional(),
  initialShards: z.int().optional(),
  rules: rulesSchema.optional(),
  limits: z.record(z.string(), z.int()).optional(),
  finds: z.string().optional(),
  plans: z.array(z.string()).optional(),
  held: z.string().optional(),
});
const fileSchema = z.strictObject({ of: z.string(), cases: z.array(caseSchema).min(1) });

type RawCase = z.output<typeof caseSchema>;

export interface PlacementCase {
  readonly name: string;
  readonly view: ViewSpec;
  readonly limits: Readonly<Record<string, number>>;
  /** Of a checker: what it finds of the first shard. */
  readonly finds: string | undefined;
  /** Of a scheduler: its plans, and why there are no more. */
  readonly plans: readonly string[] | undefined;
  readonly held: string | undefined;
}

export interface CaseFile {
  readonly file: string;
  /** `checkers`, or the name of a scheduler. */
  readonly of: string;
  readonly cases: readonly PlacementCase[];
}

/** @throws ZodError, YAMLParseError, or an Error that names what is not understood */
export function readCaseFiles(): CaseFile[] {
  const files = readdirSync(directory).filter((name) => name.endsWith('.yaml'));
  return files.sort().map((file) => {
    const { of, cases } = fileSchema.parse(parse(readFileSync(join(directory, file), 'utf8')));
    return { file, of, cases: cases.map(caseOf) };
  });
}

function caseOf(raw: RawCase): PlacementCase {
  const { replicaCount, initialShards } = raw;
  const view: ViewSpec = {
    stores: raw.stores.map(storeOf),
    shards: raw.shards.flatMap(shardsOf),
    ...(replicaCount === undefined ? {} : { replicaCount }),
    ...(initialShards === undefined ? {} : { initialShards }),
    ...(raw.rules === undefined ? {} : { rules: rulesOf(raw.rules) }),
  };
  return { name: raw.name, view, limits: raw.limits ?? {}, finds: raw.finds, plans: raw.plans, held: raw.held };
}

const states = ['up', 'silent', 'down', 'maintenance', 'draining', 'tombstone'] as const;

/** Words: a state, disk-full, disk-stalled, slow, capacity=BYTES, or a label as name=value. */
function storeOf(text: string): StoreSpec {
  let spec: StoreSpec = {};
  for (const word of text.split(' ')) {
    const [key = '', value] = word.split('=');
    const state = states.find((s) => s === word);
    if (state !== undefined) spec = { ...spec, state };
    else if (word === 'disk-full') spec = { ...spec, diskFull: true };
    else if (word === 'disk-stalled') spec = { ...spec, diskStalled: true };
    else if (word === 'slow') spec = { ...spec, slow: true };
    else if (key === 'capacity') spec = { ...spec, capacity: Number(value) };
    else if (value === undefined) throw new Error(`a store is not described by "${word}"`);
    else spec = { ...spec, labels: { ...spec.labels, [key]: value } };
  }
  return spec;
}

function shardsOf(raw: RawCase['shards'][number]): ShardSpec[] {
  if (typeof raw === 'string') return [{ replicas: replicasOf(raw) }];
  const { times = 1, replicas, target, bytes, leader, keyspace, keys, reads, writes } = raw;
  const shard: ShardSpec = {
    replicas: replicasOf(replicas),
    ...(leader === undefined ? {} : { leader }),
    ...(keyspace === undefined ? {} : { keyspace }),
    ...(keys === undefined ? {} : { keys }),
    ...(reads === undefined ? {} : { reads }),
    ...(writes === undefined ? {} : { writes }),
    ...(bytes === undefined ? {} : { bytes: bytesOf(bytes) }),
    ...(target === undefined ? {} : { target: { voters: target.voters, learners: target.learners ?? [] } }),
  };
  return Array.from({ length: times }, () => shard);
}

/** `1 2 3l 4v!`: store ids, each with its role (a voter without one) and its condition. */
function replicasOf(text: string): ReplicaSpec {
  const replicas: Record<number, string> = {};
  for (const word of text.split(' ')) {
    const match = /^(\d+)([vlio]?)([!x]?)$/.exec(word);
    if (match === null) throw new Error(`a replica is not described by "${word}"`);
    replicas[Number(match[1])] = `${match[2] === '' ? 'v' : (match[2] ?? '')}${match[3] ?? ''}`;
  }
  return replicas;
}

const units: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

function bytesOf(text: string): number {
  const match = /^(\d+) (B|KiB|MiB|GiB)$/.exec(text);
  if (match === null) throw new Error(`a number of bytes is not written "${text}"`);
  return Number(match[1]) * (units[match[2] ?? ''] ?? 0);
}

function rulesOf(raw: z.output<typeof rulesSchema>): PlacementRules {
  const plain = plainRules(raw.voters);
  const list = (given: z.output<typeof labels> | undefined): LabelRule[] =>
    Object.entries(given ?? {}).map(([key, values]) => ({
      key,
      values: typeof values === 'string' ? [values] : values,
    }));
  return {
    voters: raw.voters,
    votersOn: list(raw.on),
    spread: raw.spread ?? plain.spread,
    spreadOver: raw.over ?? 0,
    leaderOn: list(raw.leader),
    learners: (raw.learners ?? []).map(({ count, on }) => ({ count, on: list(on) })),
  };
}
