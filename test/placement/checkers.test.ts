import t from 'tap';
import { checkShard } from '../../placement/checkers/check_shard.js';
import { describeStep } from '../../placement/operators/step.js';
import type { ShardSpec, StoreSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

interface Case {
  readonly name: string;
  readonly stores: readonly StoreSpec[];
  readonly shard: ShardSpec;
  readonly replicaCount?: number;
  /** `sound`, `blocked: ...` (its beginning), or the operator's kind and steps. */
  readonly finds: string;
}

const up: StoreSpec = {};
const three = { 1: 'v', 2: 'v', 3: 'v' };
const zone = (z: string): StoreSpec => ({ labels: { zone: z } });
const host = (h: string): StoreSpec => ({ labels: { host: h } });

const cases: readonly Case[] = [
  { name: 'a shard as it should be is sound', stores: [up, up, up, up], shard: { replicas: three }, finds: 'sound' },
  {
    name: 'a shard without a leader cannot be repaired',
    stores: [up, up, up],
    shard: { replicas: three, leader: 0 },
    finds: 'blocked: no leader',
  },
  {
    name: 'a shard whose leader cannot be reached cannot be repaired',
    stores: [{ state: 'silent' }, up, up],
    shard: { replicas: three, leader: 1 },
    finds: 'blocked: no leader',
  },
  {
    name: 'a joint configuration left behind is left, before anything else',
    stores: [up, up, { state: 'down' }, up],
    shard: { replicas: { 1: 'v', 2: 'v', 3: 'o', 4: 'i' } },
    finds: 'leave-joint: leave joint',
  },
  {
    name: 'a missing voter is added by way of a learner',
    stores: [up, up, up],
    shard: { replicas: { 1: 'v', 2: 'v' } },
    finds: 'add-replica: add learner on store 3; promote learner on store 3',
  },
  {
    name: 'a missing voter without a store to take it is said',
    stores: [up, up],
    shard: { replicas: { 1: 'v', 2: 'v' } },
    finds: 'blocked: 2 of 3 voters',
  },
  {
    name: 'a full disk takes no replica',
    stores: [up, up, { diskFull: true }],
    shard: { replicas: { 1: 'v', 2: 'v' } },
    finds: 'blocked: 2 of 3 voters',
  },
  {
    name: 'a learner left behind becomes the voter that is missing',
    stores: [up, up, up, up],
    shard: { replicas: { 1: 'v', 2: 'v', 3: 'l' } },
    finds: 'promote-learner: add learner on store 3; promote learner on store 3',
  },
  {
    name: 'a learner left behind replaces a voter on a store that is down',
    stores: [up, { state: 'down' }, up, up],
    shard: { replicas: { ...three, 4: 'l' } },
    finds: 'promote-learner: add learner on store 4; enter joint: promote store 4, remove store 2; leave joint',
  },
  {
    name: 'a learner left behind on the host of a voter is of no use',
    stores: [host('a'), host('b'), host('b'), host('c')],
    shard: { replicas: { 1: 'v', 2: 'v', 3: 'l' } },
    finds: 'remove-learner: remove replica on store 3',
  },
  {
    name: 'a learner left behind is removed where no voter is missing',
    stores: [up, up, up, up],
    shard: { replicas: { ...three, 4: 'l' } },
    finds: 'remove-learner: remove replica on store 4',
  },
  {
    name: 'a learner that someone asked for stays',
    stores: [up, up, up, up],
    shard: { replicas: { ...three, 4: 'l' }, target: { voters: 3, learners: [4] } },
    finds: 'sound',
  },
  {
    name: 'a voter on a store that is down is replaced in one joint change',
    stores: [up, { state: 'down' }, up, up],
    shard: { replicas: three },
    finds: 'replace-down-replica: add learner on store 4; enter joint: promote store 4, remove store 2; leave joint',
  },
  {
    name: 'a voter on a store that was silent for a moment is waited for',
    stores: [up, { state: 'silent' }, up, up],
    shard: { replicas: three },
    finds: 'sound',
  },
  {
    name: 'a voter on a store that is down, without one to replace it, is said',
    stores: [up, { state: 'down' }, up],
    shard: { replicas: three },
    finds: 'blocked: store 2 is down',
  },
  {
    name: 'a damaged voter is replaced at once where another store can take it',
    stores: [up, up, up, up],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v' } },
    finds: 'replace-damaged-replica: add learner on store 4; enter joint: promote store 4, remove store 2; leave joint',
  },
  {
    name: 'a damaged voter that no other store can take is removed and made anew on its own store',
    stores: [up, up, up],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v' } },
    finds: 'renew-damaged-replica: remove replica on store 2; add learner on store 2; promote learner on store 2',
  },
  {
    name: 'a damaged voter stays while another one has not caught up',
    stores: [up, up, up],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v!' } },
    finds: 'blocked: the replica on store 2 lost data; it is replaced once',
  },
  {
    name: 'a damaged voter stays while another one cannot be reached',
    stores: [up, up, { state: 'silent' }],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v' } },
    finds: 'blocked: the replica on store 2 lost data; it is replaced once',
  },
  {
    name: 'a damaged voter on a full disk is not removed, since nothing could take its place',
    stores: [up, { diskFull: true }, up],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v' } },
    finds: 'blocked: the replica on store 2 lost data, and no store may take another',
  },
  {
    name: 'of two damaged voters of five one is made anew',
    stores: [up, up, up, up, up],
    shard: { replicas: { ...three, 4: 'vx', 5: 'vx' } },
    replicaCount: 5,
    finds: 'renew-damaged-replica: remove replica on store 4; add learner on store 4; promote learner on store 4',
  },
  {
    name: 'a second damaged voter waits until the first has its successor',
    stores: [up, up, up, up, up],
    shard: { replicas: { ...three, 5: 'vx' } },
    replicaCount: 5,
    finds: 'add-replica: add learner on store 4; promote learner on store 4',
  },
  {
    name: 'a second damaged voter waits also when nothing can take the place of the first',
    stores: [up, up, up, { diskFull: true }, up],
    shard: { replicas: { ...three, 5: 'vx' } },
    replicaCount: 5,
    finds: 'blocked: 4 of 5 voters',
  },
  {
    name: 'a damaged voter is made anew although another one is down that nobody can replace',
    stores: [up, up, up, { state: 'down' }, up],
    shard: { replicas: { ...three, 4: 'v', 5: 'vx' } },
    replicaCount: 5,
    finds: 'renew-damaged-replica: remove replica on store 5; add learner on store 5; promote learner on store 5',
  },
  {
    name: 'of too many voters, a damaged one goes first',
    stores: [up, up, up, up],
    shard: { replicas: { 1: 'v', 2: 'v', 3: 'vx', 4: 'v' } },
    finds: 'remove-extra-replica: remove replica on store 3',
  },
  {
    name: 'a damaged learner that was left behind is not made a voter',
    stores: [up, up, up],
    shard: { replicas: { 1: 'v', 2: 'v', 3: 'lx' } },
    finds: 'remove-learner: remove replica on store 3',
  },
  {
    name: 'a learner left behind replaces a damaged voter',
    stores: [up, up, up, up],
    shard: { replicas: { 1: 'v', 2: 'vx', 3: 'v', 4: 'l' } },
    finds: 'promote-learner: add learner on store 4; enter joint: promote store 4, remove store 2; leave joint',
  },
  {
    name: 'a damaged learner that someone asked for is made anew',
    stores: [up, up, up, up],
    shard: { replicas: { ...three, 4: 'lx' }, target: { voters: 3, learners: [4] } },
    finds: 'replace-damaged-learner: remove replica on store 4; add learner on store 4',
  },
  {
    name: 'a draining store hands its leader over before its voter goes',
    stores: [{ state: 'draining' }, up, up, up],
    shard: { replicas: three, leader: 1 },
    finds:
      'drain-replica: add learner on store 4; transfer leader to store 2; enter joint: promote store 4, remove store 1; leave joint',
  },
  {
    name: 'a leader is not handed to a store whose disk does not sync',
    stores: [{ state: 'draining' }, { diskStalled: true }, up, up],
    shard: { replicas: three, leader: 1 },
    finds:
      'drain-replica: add learner on store 4; transfer leader to store 3; enter joint: promote store 4, remove store 1; leave joint',
  },
  {
    name: 'of too many voters, one on a store that is down goes first',
    stores: [up, up, { state: 'down' }, up],
    shard: { replicas: { ...three, 4: 'v' } },
    finds: 'remove-extra-replica: remove replica on store 3',
  },
  {
    name: 'of too many voters, one that shares its host goes before others',
    stores: [host('a'), host('b'), host('c'), host('c')],
    shard: { replicas: { ...three, 4: 'v' }, leader: 3 },
    finds: 'remove-extra-replica: remove replica on store 4',
  },
  {
    name: 'of too many voters, the leader stays',
    stores: [up, up, up, up],
    shard: { replicas: { ...three, 4: 'v' }, leader: 1 },
    finds: 'remove-extra-replica: remove replica on store 2',
  },
  {
    name: 'a voter that someone added by hand stays',
    stores: [up, up, up, up],
    shard: { replicas: { ...three, 4: 'v' }, target: { voters: 4 } },
    finds: 'sound',
  },
  {
    name: 'a voter that someone removed by hand is not brought back',
    stores: [up, up, up, up],
    shard: { replicas: { 1: 'v', 2: 'v' }, target: { voters: 2 } },
    finds: 'sound',
  },
  {
    name: 'two voters on one host are moved apart',
    stores: [host('a'), host('a'), host('b'), host('c')],
    shard: { replicas: three, leader: 3 },
    finds: 'move-misplaced-replica: add learner on store 4; enter joint: promote store 4, remove store 1; leave joint',
  },
  {
    name: 'two voters on one host without another host are said',
    stores: [host('a'), host('a'), host('b')],
    shard: { replicas: three, leader: 3 },
    finds: 'blocked: store 1 shares its host',
  },
  {
    name: 'a voter moves to a zone that has none',
    stores: [zone('x'), zone('x'), zone('y'), zone('z')],
    shard: { replicas: three, leader: 3 },
    finds: 'move-misplaced-replica: add learner on store 4; enter joint: promote store 4, remove store 1; leave joint',
  },
  {
    name: 'voters that have as many zones as there are stay',
    stores: [zone('x'), zone('x'), zone('y'), zone('y')],
    shard: { replicas: three },
    finds: 'sound',
  },
  {
    name: 'a replacement goes to a zone of its own, whatever its load',
    stores: [zone('x'), { ...zone('y'), state: 'down' }, zone('z'), zone('x'), zone('y')],
    shard: { replicas: three },
    finds: 'replace-down-replica: add learner on store 5; enter joint: promote store 5, remove store 2; leave joint',
  },
];

for (const { name, stores, shard, replicaCount, finds } of cases) {
  t.test(name, async (t) => {
    const fixed = fixedView({ stores, shards: [shard], ...(replicaCount === undefined ? {} : { replicaCount }) });
    const record = fixed.shards[0];
    if (record === undefined) throw new Error('no shard');
    const result = checkShard(fixed.view, record, fixed.loads());
    if (result.kind === 'plan') {
      t.equal(`${result.plan.kind}: ${result.plan.steps.map(describeStep).join('; ')}`, finds);
    } else {
      const said = result.kind === 'sound' ? 'sound' : `blocked: ${result.reason}`;
      t.equal(said.slice(0, finds.length), finds);
    }
  });
}
