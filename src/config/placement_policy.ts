import { LineCounter, isNode, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { z } from 'zod';
import type { LabelRule, PlacementPolicy } from '../gen/skerry/v1/admin.js';

/**
 * The policy language: what a keyspace wants of its replicas.
 *
 *     voters: 3
 *     on: { disk: ssd }              # every voter is on a store with these labels; a list of values: one of them
 *     spread: { over: zone, at_least: 3 }
 *     leader: { zone: a }
 *     learners:
 *       - { count: 1, on: { zone: c } }
 */
const labels = z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]));
const schema = z.strictObject({
  voters: z.int().min(1).max(7),
  on: labels.default({}),
  spread: z.strictObject({ over: z.string().min(1).default('zone'), at_least: z.int().min(1).optional() }).prefault({}),
  leader: labels.default({}),
  learners: z.array(z.strictObject({ count: z.int().min(1).default(1), on: labels.default({}) })).default([]),
});

/** A policy that is not understood; a line per problem, each with its place. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
}

/** @throws PolicyError */
export function parsePolicy(text: string): PlacementPolicy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    throw new PolicyError(document.errors.map((e) => `line ${lines.linePos(e.pos[0]).line}: ${e.code}`).join('\n'));
  }
  const result = schema.safeParse(document.toJS());
  if (!result.success) {
    const problems = result.error.issues.map(
      ({ path, message }) => `line ${lineOf(document, lines, path)}: ${path.join('.') || 'policy'}: ${message}`,
    );
    throw new PolicyError(problems.join('\n'));
  }
  const { voters, on, spread, leader, learners } = result.data;
  return {
    voters,
    votersOn: labelRules(on),
    spread: spread.over,
    spreadOver: spread.at_least ?? 0,
    leaderOn: labelRules(leader),
    learners: learners.map((l) => ({ count: l.count, on: labelRules(l.on) })),
  };
}

/** The line of a value, or of the nearest one around it that is there. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range !== null && node.range !== undefined) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

function labelRules(given: z.output<typeof labels>): LabelRule[] {
  return Object.entries(given).map(([key, values]) => ({
    key,
    values: typeof values === 'string' ? [values] : values,
  }));
}

/** The policy as parsePolicy() reads it; what is left at its default is left out. */
export function policyView(policy: PlacementPolicy): Record<string, unknown> {
  const view = (rules: readonly LabelRule[]): Record<string, string | string[]> =>
    Object.fromEntries(rules.map(({ key, values }) => [key, values.length === 1 ? (values[0] ?? '') : values]));
  return {
    voters: policy.voters,
    ...(policy.votersOn.length === 0 ? {} : { on: view(policy.votersOn) }),
    spread: { over: policy.spread, ...(policy.spreadOver === 0 ? {} : { at_least: policy.spreadOver }) },
    ...(policy.leaderOn.length === 0 ? {} : { leader: view(policy.leaderOn) }),
    ...(policy.learners.length === 0
      ? {}
      : {
          learners: policy.learners.map(({ count, on }) => ({ count, ...(on.length === 0 ? {} : { on: view(on) }) })),
        }),
  };
}
