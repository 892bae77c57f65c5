import { z } from 'zod';
import { cronProblem } from './cron.js';
import { scrubBytesPerSecondDefault, scrubBytesPerSecondMin } from './limits.js';
import { windowProblem } from './balance_windows.js';
import type { BalanceWindow } from './balance_windows.js';
import type { MemberAddress } from './member_lines.js';
import { moveLimitsDefault } from './move_limits.js';
import { mergedShareMax, shardSizesDefault } from './shard_sizes.js';

/**
 * Configuration of a placement server; src/base/config_schema.ts says how keys are spelled in files, environment
 * and flags. Members may be a map (`1: host:port`), a list of `{ id, address }`, or a list of `id=host:port`.
 */
const memberEntry = z.union([z.string(), z.object({ id: z.int(), address: z.string() })]);
const members = z
  .union([z.array(memberEntry), z.record(z.string(), z.string())])
  .transform((given): MemberAddress[] => (Array.isArray(given) ? given.map(parseMember) : parseMap(given)))
  .superRefine((list, ctx) => {
    for (const problem of memberProblems(list)) ctx.addIssue({ code: 'custom', message: problem });
  });

const windowEntry = z.union([z.string(), z.object({ start: z.string(), minutes: z.number() })]);
const windows = z
  .array(windowEntry)
  .transform((given): BalanceWindow[] => given.map(parseWindow))
  .superRefine((list, ctx) => {
    for (const window of list) {
      const problem = windowProblem(window);
      if (problem !== null) ctx.addIssue({ code: 'custom', message: problem });
    }
  });

const milliseconds = z.int().min(1);
const count = z.int().min(1);
const amount = z.int().min(0);

export const placementConfigSchema = z.object({
  memberId: z.int().min(0).default(0).describe('id of this member, one of the members; 0: given when it joins'),
  members: members.default([]).describe('the first members of the placement group: id=host:port'),
  join: z
    .array(z.string())
    .default([])
    .describe('members of a running group to join, host:port; needs an address and an empty directory'),
  address: z.string().default('').describe('host:port to listen at; default: this member’s address'),
  dataDir: z.string().min(1).describe('directory for everything that this member keeps'),
  metricsAddress: z.string().default('127.0.0.1:0').describe('host:port of /metrics; empty: none; port 0: a free one'),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('log level'),
  storeDisconnectMs: milliseconds.default(10_000).describe('silence after which a store counts as disconnected'),
  storeDownMs: milliseconds.default(30 * 60_000).describe('silence after which its replicas are rebuilt elsewhere'),
  balance: z.boolean().default(true).describe('move replicas and leaders to spread them evenly'),
  balanceWindows: windows.default([]).describe('when balance may work: "CRON for MINUTES"; none: always'),
  patrolIntervalMs: milliseconds.default(250).describe('pause between looks at shards and operators'),
  scheduleIntervalMs: milliseconds.default(500).describe('pause between rounds of balance'),
  limits: z
    .object({
      movesPerStore: count.default(moveLimitsDefault.movesPerStore).describe('balance moves at one store at once'),
      repairsPerStore: count.default(moveLimitsDefault.repairsPerStore).describe('repairs at one store at once'),
      movesInCluster: count.default(moveLimitsDefault.movesInCluster).describe('replicas on their way at once'),
      transfersPerStore: count.default(moveLimitsDefault.transfersPerStore).describe('leader transfers at one store'),
      transfersInCluster: count.default(moveLimitsDefault.transfersInCluster).describe('leader transfers at once'),
      mergesInCluster: amount
        .default(moveLimitsDefault.mergesInCluster)
        .describe('merges of small shards at once; 0: none but those asked for'),
    })
    .prefault({}),
  shards: z
    .object({
      splitBytes: amount.default(shardSizesDefault.splitBytes).describe('bytes above which a shard is split; 0: never'),
      splitKeys: amount.default(shardSizesDefault.splitKeys).describe('keys above which it is; 0: never'),
      splitWork: amount
        .default(shardSizesDefault.splitWork)
        .describe('operations per second above which it is; 0: never'),
      mergeBytes: amount.default(shardSizesDefault.mergeBytes).describe('bytes below which it may be merged; 0: never'),
      mergeKeys: amount.default(shardSizesDefault.mergeKeys).describe('keys below which it may be merged'),
      restMs: amount
        .default(shardSizesDefault.restMs)
        .describe('time for which a shard that was split or merged is neither split nor merged by itself'),
    })
    .prefault({}),
  scrub: z
    .object({
      schedule: z
        .string()
        .default('0 3 * * *')
        .superRefine((text, ctx) => {
          const problem = text.trim() === '' ? null : cronProblem(text);
          if (problem !== null) ctx.addIssue({ code: 'custom', message: problem });
        })
        .describe('when the replicas of all shards are compared, a cron expression; empty: only when asked'),
      bytesPerSecond: z
        .int()
        .min(scrubBytesPerSecondMin)
        .default(scrubBytesPerSecondDefault)
        .describe('bytes per second that a store may read to compare replicas'),
    })
    .prefault({}),
  raft: z
    .object({
      tickMs: milliseconds.default(100).describe('unit of the Raft timers'),
      electionTicks: z.int().min(3).default(10).describe('ticks without a leader before a member campaigns'),
    })
    .prefault({}),
});

export type PlacementConfig = z.output<typeof placementConfigSchema>;

/** Group sizes that tolerate 0, 1 and 2 lost members; even ones only add cost. */
const groupSizes = [1, 3, 5];

/** Relations between keys, which the schema cannot say. Empty: none is broken. */
export function configProblems(config: PlacementConfig): string[] {
  const problems: string[] = [];
  if (config.join.length > 0) return joinProblems(config);
  if (config.members.length === 0) problems.push('members: name the first members, or a member to join');
  else if (!config.members.some((m) => m.id === config.memberId)) {
    const ids = config.members.map((m) => m.id).join(', ');
    problems.push(`member_id: ${config.memberId} is none of the members (${ids})`);
  }
  if (config.storeDownMs < config.storeDisconnectMs) {
    problems.push('store_down_ms: must not be below store_disconnect_ms');
  }
  const { splitBytes, splitKeys, mergeBytes, mergeKeys } = config.shards;
  // Two shards at the limit of merging must make one that is not split again.
  if (splitBytes > 0 && 2 * mergeBytes > splitBytes * mergedShareMax) {
    problems.push(`shards.merge_bytes: must be at most ${mergedShareMax / 2} of shards.split_bytes`);
  }
  if (splitKeys > 0 && 2 * mergeKeys > splitKeys * mergedShareMax) {
    problems.push(`shards.merge_keys: must be at most ${mergedShareMax / 2} of shards.split_keys`);
  }
  if (config.members.length > 1) {
    for (const { id, address } of config.members) {
      if (address.endsWith(':0')) problems.push(`members: member ${id} needs a fixed port, since others must find it`);
    }
  }
  return problems;
}

function joinProblems(config: PlacementConfig): string[] {
  const problems: string[] = [];
  for (const address of config.join) {
    if (!/^.+:[1-9]\d*$/.test(address)) problems.push(`join: "${address}" is not host:port`);
  }
  if (!/^.+:[1-9]\d*$/.test(config.address)) {
    problems.push('address: a member that joins needs the host:port under which it was added');
  }
  if (config.members.length > 0) problems.push('members: a member that joins is told of the others');
  return problems;
}

function parseMember(given: z.output<typeof memberEntry>): MemberAddress {
  if (typeof given !== 'string') return given;
  const at = given.indexOf('=');
  return at === -1 ? { id: NaN, address: given } : { id: Number(given.slice(0, at)), address: given.slice(at + 1) };
}

function parseMap(given: Readonly<Record<string, string>>): MemberAddress[] {
  return Object.entries(given).map(([id, address]) => ({ id: Number(id), address }));
}

function memberProblems(list: readonly MemberAddress[]): string[] {
  const problems: string[] = [];
  if (!groupSizes.includes(list.length)) problems.push(`a placement group has 1, 3 or 5 members, not ${list.length}`);
  for (const { id, address } of list) {
    if (!Number.isInteger(id) || id < 1)
      problems.push(`a member is written id=host:port with an id from 1 on, not "${address}"`);
    else if (!/^.+:\d+$/.test(address)) problems.push(`member ${id}: "${address}" is not host:port`);
  }
  if (new Set(list.map((m) => m.id)).size !== list.length) problems.push('two members have the same id');
  return problems;
}

function parseWindow(given: z.output<typeof windowEntry>): BalanceWindow {
  if (typeof given !== 'string') return given;
  const match = /^(.*?)\s+for\s+(\d+)$/.exec(given.trim());
  return { start: match?.[1] ?? given, minutes: Number(match?.[2] ?? NaN) };
}
