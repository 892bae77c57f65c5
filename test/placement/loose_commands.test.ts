import t from 'tap';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import { looseCommandsMax } from '../../placement/limits.js';
import { LooseCommands } from '../../placement/loose_commands.js';

const epoch = { confVer: 1, version: 1 };

t.test('each command has an id of its own, by which a refusal leads back to it', (t) => {
  const sent: StoreCommand[] = [];
  const loose = new LooseCommands((_storeId, command) => sent.push(command));
  loose.send(1, { $case: 'destroyReplica', value: { shardId: 4, replicaId: 5, epoch } });
  loose.send(2, { $case: 'createShards', value: { shards: [], firstLeaders: [] } });
  const [first, second] = sent.map((command) => command.commandId);
  t.not(first, second);
  t.equal(loose.describe(first ?? 0), 'destroy replica 5 of shard 4');
  t.match(loose.describe(second ?? 0), /create 0 shards/);
  t.equal(loose.describe(1), null, 'an operator’s');
  t.end();
});

t.test('past their number the oldest are forgotten', (t) => {
  const ids: number[] = [];
  const loose = new LooseCommands((_storeId, command) => ids.push(command.commandId));
  const send = (replicaId: number): void =>
    loose.send(1, { $case: 'destroyReplica', value: { shardId: 4, replicaId, epoch } });
  for (let i = 0; i <= looseCommandsMax; i++) send(i);
  t.equal(loose.describe(ids[0] ?? 0), null);
  t.equal(loose.describe(ids[1] ?? 0), 'destroy replica 1 of shard 4');
  t.end();
});
