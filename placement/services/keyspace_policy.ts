import { invalidArgument, keyspaceNotFound } from '../../src/base/wire_errors.js';
import type {
  LabelRule as WireLabelRule,
  PlacementPolicy,
  SetKeyspacePolicyRequest,
} from '../../src/gen/skerry/v1/admin.js';
import { labelBytesMax, labelsPerStoreMax, replicaCountMax } from '../limits.js';
import type { PlacementMember } from '../placement_member.js';
import type { LabelRule, PlacementRules } from '../rules/placement_rules.js';
import { plainRules, spreadDefault } from '../rules/placement_rules.js';
import { planPolicy } from '../rules/policy_plan.js';
import type { KeyspaceRecord } from '../state/records.js';
import { WireFault } from '../wire_fault.js';
import type { LeaderContext } from './unary.js';

/** Says what the policy sets in motion, and puts it in force unless this is a dry run. */
export async function setPolicy(
  { member, work }: LeaderContext,
  { keyspace: name, policy, plan }: SetKeyspacePolicyRequest,
): Promise<{ changes: string[] }> {
  const keyspace = keyspaceNamed(member, name);
  const rules = checkPolicy(policy);
  const changes = planPolicy(work.planner.whyContext().checks, keyspace.keyspaceId, rules);
  if (!plan) await member.proposer.propose({ kind: 'setKeyspaceRules', keyspaceId: keyspace.keyspaceId, rules });
  return { changes };
}

export function policyOf(member: PlacementMember, name: string): { policy: PlacementPolicy } {
  const keyspace = keyspaceNamed(member, name);
  const { voters, votersOn, spread, spreadOver, leaderOn, learners } =
    keyspace.rules ?? plainRules(keyspace.replicaCount);
  const list = (rules: readonly LabelRule[]): WireLabelRule[] =>
    rules.map(({ key, values }) => ({ key, values: [...values] }));
  return {
    policy: {
      voters,
      votersOn: list(votersOn),
      spread,
      spreadOver,
      leaderOn: list(leaderOn),
      learners: learners.map(({ count, on }) => ({ count, on: list(on) })),
    },
  };
}

function keyspaceNamed(member: PlacementMember, name: string): KeyspaceRecord {
  const keyspace = member.state.keyspaceByName(name);
  if (keyspace === undefined || keyspace.phase === 'planning') throw new WireFault(keyspaceNotFound(name, 0));
  return keyspace;
}

/** @throws WireFault InvalidArgument that names the field */
export function checkPolicy(policy: PlacementPolicy | undefined): PlacementRules {
  if (policy === undefined) return refuse('policy', 'POLICY_MISSING', 'a policy is needed');
  const { voters, votersOn, spread, spreadOver, leaderOn, learners } = policy;
  if (voters < 1 || voters > replicaCountMax) {
    refuse('policy.voters', 'VOTERS_OUT_OF_RANGE', `a shard has 1 to ${replicaCountMax} voters`);
  }
  if (spreadOver > voters)
    refuse('policy.spread_over', 'SPREAD_OUT_OF_RANGE', 'voters cannot be in more places than there are voters');
  const learnerCount = learners.reduce((sum, l) => sum + l.count, 0);
  if (learners.some((l) => l.count < 1) || learnerCount > replicaCountMax) {
    refuse(
      'policy.learners',
      'LEARNERS_OUT_OF_RANGE',
      `a shard has up to ${replicaCountMax} learners, one or more per rule`,
    );
  }
  for (const rules of [votersOn, leaderOn, ...learners.map((l) => l.on)]) checkLabels(rules);
  return { voters, votersOn, spread: spread === '' ? spreadDefault : spread, spreadOver, leaderOn, learners };
}

function checkLabels(rules: readonly WireLabelRule[]): void {
  const fits = (text: string): boolean => text !== '' && Buffer.byteLength(text, 'utf8') <= labelBytesMax;
  for (const { key, values } of rules) {
    if (!fits(key) || values.length === 0 || !values.every(fits)) {
      refuse('policy', 'LABEL_INVALID', `a label rule has a key and values of 1 to ${labelBytesMax} bytes`);
    }
  }
  if (rules.length > labelsPerStoreMax) refuse('policy', 'TOO_MANY_LABELS', `at most ${labelsPerStoreMax} labels`);
}

function refuse(field: string, reason: string, message: string): never {
  throw new WireFault(invalidArgument(field, reason, message));
}
