import t from 'tap';
import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { notLeader, serverIsBusy } from '../../src/base/wire_errors.js';
import { ReplicaChecksum } from '../../src/gen/skerry/v1/placement.js';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import {
  findingsPerCommandMax,
  scrubFindingsMax,
  scrubReplyMs,
  scrubRequestsMax,
  scrubShardsInFlightMax,
  scrubStartMs,
} from '../../placement/limits.js';
import { FindingRecorder } from '../../placement/scrub/finding_recorder.js';
import { ScrubSchedule } from '../../placement/scrub/scrub_schedule.js';
import { Scrubber } from '../../placement/scrub/scrubber.js';
import type { CheckedReplica, Verdict } from '../../placement/scrub/verdict.js';
import { differenceLine, judge } from '../../placement/scrub/verdict.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import type { CommandOutcome, PlacementCommand } from '../../placement/state/commands.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { changedRows, restoreRow } from '../../placement/state/rows.js';
import { ScrubFindings } from '../../placement/state/scrub_findings.js';
import { WireFault } from '../../placement/wire_fault.js';
import type { FixedView, ShardSpec } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

const index = 100;

/** Checksums of the replicas on stores 1, 2, 3, ...; null: none came; a text: why not. */
function replicas(...sums: readonly (number | string | null)[]): CheckedReplica[] {
  return sums.map((sum, i) => {
    const replicaId = 101 + i;
    const report = { ...ReplicaChecksum.create(), shardId: 1, replicaId, index };
    const base = { replicaId, storeId: i + 1, reason: 'silent' };
    if (sum === null) return { ...base, report: null };
    return { ...base, report: typeof sum === 'string' ? { ...report, failure: sum } : { ...report, checksum: sum } };
  });
}

const short = (verdict: Verdict): string => `${verdict.outcome}: ${verdict.replicas.map((r) => r.state).join(' ')}`;

t.test('a majority names the odd replica, and nothing less does', async (t) => {
  const cases: readonly (readonly [readonly (number | string | null)[], string])[] = [
    [[7, 7, 7], 'consistent: agrees agrees agrees'],
    [[7, 8, 7], 'inconsistent: agrees odd agrees'],
    [[8, 7, 7], 'inconsistent: odd agrees agrees'],
    [[7, 8, 9], 'inconsistent: differs differs differs'],
    [[7, 8, null], 'inconsistent: differs differs unchecked'],
    [[7, 7, null], 'unchecked: agrees agrees unchecked'],
    [[7, 7, 'busy'], 'unchecked: agrees agrees unchecked'],
    [[7, null, null], 'unchecked: agrees unchecked unchecked'],
    [[null, null, null], 'unchecked: unchecked unchecked unchecked'],
    [[7, 7, 8, 8], 'inconsistent: differs differs differs differs'],
    [[7, 7, 7, 8, 9], 'inconsistent: agrees agrees agrees odd odd'],
    [[7, 7, 8, 9, null], 'inconsistent: differs differs differs differs unchecked'],
    [[7, 8], 'inconsistent: differs differs'],
    [[7], 'unchecked: agrees'],
    [[], 'unchecked: '],
  ];
  for (const [sums, expected] of cases) t.equal(short(judge(1, replicas(...sums))), expected, sums.join());
  const [a, b] = replicas(7, 7);
  const report = { ...must(b?.report, 'a report'), rows: 1 };
  const counted = judge(1, [must(a, 'a'), { ...must(b, 'b'), report }]);
  t.equal(counted.outcome, 'inconsistent', 'equal sums of other rows are not equal');
  t.match(judge(1, replicas(7, 'busy')).replicas, [{ reason: '' }, { reason: 'busy' }]);
  t.equal(
    differenceLine(judge(4, replicas(7, 8, 7))),
    'shard 4 differs from most replicas: 102 on store 2 (at log index 100)',
  );
  t.match(differenceLine(judge(4, replicas(7, 8))), /replicas that differ: 101 on store 1, 102 on store 2/);
});

interface Stage extends FixedView {
  readonly scrubber: Scrubber;
  readonly sent: { readonly storeId: number; readonly command: StoreCommand }[];
  readonly answer: (sum: (storeId: number) => number | null) => void;
  readonly passMs: (ms: number) => void;
}

function stage(
  shards: readonly ShardSpec[],
  fixed = fixedView({ stores: [{}, {}, {}], shards }),
  found: (shardId: number, verdict: Verdict | null) => void = () => undefined,
): Stage {
  const sent: Stage['sent'] = [];
  let nextId = 1_000_000;
  const scrubber = new Scrubber({
    view: fixed.view,
    logger: silentLogger,
    bytesPerSecond: 1_000_000,
    send: (storeId, command) => void sent.push({ storeId, command }),
    newCheckId: () => ++nextId,
    ended: () => undefined,
    found,
  });
  return {
    ...fixed,
    scrubber,
    sent,
    /** Answers every command so far for the replicas of its shard, and forgets it. */
    answer: (sum) => {
      for (const { command } of sent.splice(0)) {
        if (command.command?.$case !== 'verifyShard') continue;
        const { shardId, checkId } = command.command.value;
        for (const { replicaId, storeId } of fixed.state.shard(shardId)?.replicas ?? []) {
          const checksum = sum(storeId);
          if (checksum === null) continue;
          scrubber.checksumReported(storeId, {
            ...ReplicaChecksum.create(),
            checkId,
            shardId,
            replicaId,
            index,
            checksum,
          });
        }
      }
    },
    passMs: (ms) => {
      fixed.view.setTime(fixed.view.nowMs + ms);
      for (const storeId of [1, 2, 3]) {
        fixed.view.storeHeartbeat(storeId, must(fixed.view.report(storeId), 'a report'));
      }
      scrubber.tick();
    },
  };
}

const three: ShardSpec = { replicas: { 1: 'v', 2: 'v', 3: 'v' } };

t.test('a round compares every shard, few at a time, and requests go first', async (t) => {
  const { scrubber, sent, answer } = stage(Array.from({ length: 7 }, () => three));
  scrubber.startRound();
  t.equal(sent.length, scrubShardsInFlightMax);
  scrubber.startRound();
  t.equal(sent.length, scrubShardsInFlightMax, 'a round at a time');
  const check = must(scrubber.request(6), 'a check');
  let waves = 0;
  while (sent.length > 0) {
    waves++;
    answer(() => 7);
    if (waves === 2) t.equal(check.verdict?.outcome, 'consistent');
  }
  t.same(scrubber.counts, { consistent: 8, inconsistent: 0, unchecked: 0 });
  t.equal(scrubber.checksRunning, 0);
  scrubber.startRound();
  t.equal(sent.length, scrubShardsInFlightMax, 'and another one, once it is over');
});

t.test('past the bound of requests that wait, another one is refused', async (t) => {
  const { scrubber, answer } = stage([three, three]);
  const checks = Array.from({ length: scrubRequestsMax + scrubShardsInFlightMax }, () => scrubber.request(1));
  t.notOk(checks.includes(null));
  t.equal(scrubber.request(2), null);
  answer(() => 7);
  t.not(scrubber.request(2), null, 'there is room again');
});

t.test(
  'a leader that refuses is asked again with another id, and a late answer to the first one counts for nothing',
  async (t) => {
    const { scrubber, sent, answer, passMs } = stage([three]);
    const check = must(scrubber.request(1), 'a check');
    const first = must(sent.shift(), 'a command').command;
    scrubber.commandResult(first.commandId, notLeader(1, { replicaId: 0, storeId: 0 }, 7));
    passMs(250);
    t.equal(sent.length, 1);
    const late = { ...ReplicaChecksum.create(), checkId: first.commandId, shardId: 1, index, checksum: 666 };
    scrubber.checksumReported(2, { ...late, replicaId: 102 });
    answer(() => 7);
    t.equal(check.verdict?.outcome, 'consistent');
  },
);

t.test('a leader that refuses for good leaves the shard unchecked, with its reason', async (t) => {
  const { scrubber, sent, passMs } = stage([three]);
  const check = must(scrubber.request(1), 'a check');
  for (let passed = 0; passed <= scrubStartMs && check.verdict === null; passed += 250) {
    for (const { command } of sent.splice(0)) {
      scrubber.commandResult(command.commandId, notLeader(1, { replicaId: 0, storeId: 0 }, 7));
    }
    passMs(250);
  }
  t.match(check.verdict, { outcome: 'unchecked', replicas: [{ reason: /its leader refused/ }, {}, {}] });
});

t.test('a replica that does not answer in time is unchecked, and one that moved away is not waited for', async (t) => {
  const { scrubber, answer, passMs, state } = stage([three, three]);
  const silent = must(scrubber.request(1), 'a check');
  const moved = must(scrubber.request(2), 'a check');
  answer((storeId) => (storeId === 3 ? null : 7));
  passMs(scrubReplyMs - 250);
  t.equal(silent.verdict, null, 'it has the time');
  const shard = must(state.shard(2), 'the shard');
  state.restoreShard({ ...shard, replicas: shard.replicas.filter((r) => r.storeId !== 3) });
  passMs(500);
  t.match(silent.verdict, { outcome: 'unchecked', replicas: [{}, {}, { reason: /did not come in time/ }] });
  t.match(moved.verdict, { outcome: 'consistent' });
  t.equal(moved.verdict?.replicas.length, 2);
});

t.test('a report in the name of a replica of another store counts for nothing', async (t) => {
  const { scrubber, sent, passMs } = stage([three]);
  const check = must(scrubber.request(1), 'a check');
  const { commandId } = must(sent[0], 'a command').command;
  for (const replicaId of [101, 102, 103]) {
    const report = { ...ReplicaChecksum.create(), checkId: commandId, shardId: 1, replicaId, index, checksum: 7 };
    scrubber.checksumReported(1, report);
  }
  passMs(scrubReplyMs + 250);
  t.match(check.verdict, { outcome: 'unchecked', replicas: [{ state: 'agrees' }, {}, {}] });
});

t.test('a difference stays a finding until the shard is found equal or is gone', async (t) => {
  const { scrubber, answer, passMs } = stage([three]);
  const check = (sum: (storeId: number) => number | null): void => {
    scrubber.request(1);
    answer(sum);
    passMs(scrubReplyMs + 250);
  };
  check((storeId) => (storeId === 2 ? 8 : 7));
  t.equal(scrubber.inconsistent.size, 1);
  check((storeId) => (storeId === 2 ? null : 7));
  t.equal(scrubber.inconsistent.size, 1, 'unchecked is not fine');
  check(() => 7);
  t.equal(scrubber.inconsistent.size, 0);
  check((storeId) => storeId);
  t.equal(scrubber.inconsistent.size, 1);
  scrubber.shardGone(1);
  t.equal(scrubber.inconsistent.size, 0);
});

t.test('a schedule is due once in each minute that matches; an empty one never', async (t) => {
  const schedule = new ScrubSchedule('30 3 * * *');
  const at = (hour: number, minute: number, second = 0): boolean =>
    schedule.isDue(new Date(2024, 4, 6, hour, minute, second).getTime());
  t.same([at(3, 29), at(3, 30), at(3, 30, 1), at(3, 30, 59), at(3, 31)], [false, true, false, false, false]);
  t.ok(schedule.isDue(new Date(2024, 4, 7, 3, 30).getTime()), 'and the next day');
  const never = new ScrubSchedule('');
  t.notOk([0, 1, 2].some((hour) => never.isDue(hour * 3_600_000)));
});

t.test(
  'the group remembers what was found, over a failover and a restart, until it is equal again or gone',
  async (t) => {
    const { state } = fixedView({ stores: [{}, {}, {}], shards: [three, three] });
    const record = (shardId: number, ...sums: number[]): CommandOutcome => {
      const verdict = sums.length === 0 ? null : judge(shardId, replicas(...sums));
      const command: PlacementCommand = { kind: 'recordFindings', findings: [{ shardId, verdict }] };
      return state.apply(decodeCommand(encodeCommand(command)));
    };
    t.same(record(1, 7, 8, 7), { ok: true, value: 1 });
    t.same(record(2, 7, 7, 8), { ok: true, value: 1 });
    t.same(record(99, 7, 8, 7), { ok: true, value: 0 }, 'a shard that is gone');
    const copy = new ClusterState();
    const rows = changedRows(state, state.takeChanges());
    for (const { key, value } of rows) if (value !== null) restoreRow(copy, key, value);
    t.same([...copy.findings.all()], [judge(1, replicas(7, 8, 7)), judge(2, replicas(7, 7, 8))]);
    t.same(record(1), { ok: true, value: 1 });
    t.same(record(1), { ok: true, value: 0 });
    t.same(
      [...state.findings.all()].map((v) => v.shardId),
      [2],
    );
    const gone = changedRows(state, state.takeChanges());
    t.same(gone.filter((row) => row.value === null).length, 1, 'its row is deleted');
  },
);

t.test('a new leader begins with what was found before', async (t) => {
  const fixed = fixedView({ stores: [{}, {}, {}], shards: [three] });
  const verdict = judge(1, replicas(7, 8, 7));
  fixed.state.apply({ kind: 'recordFindings', findings: [{ shardId: 1, verdict }] });
  const found: (Verdict | null)[] = [];
  const { scrubber, answer, passMs } = stage([three], fixed, (_shardId, now) => found.push(now));
  t.same([...scrubber.inconsistent.values()], [verdict]);
  scrubber.request(1);
  answer(() => 7);
  passMs(scrubReplyMs + 250);
  t.same([scrubber.inconsistent.size, found], [0, [null]]);
});

t.test('past its number findings are not remembered by the group', async (t) => {
  const findings = new ScrubFindings();
  for (let shardId = 1; shardId <= scrubFindingsMax; shardId++) findings.put(judge(shardId, []));
  t.equal(findings.put(judge(scrubFindingsMax + 1, [])), false);
  t.equal(findings.put(judge(1, [])), true, 'what is known may change');
  t.equal(findings.size, scrubFindingsMax);
});

t.test('a finding that did not get into the log is sent again, and the last one counts', async (t) => {
  const sent: PlacementCommand[] = [];
  let busy = true;
  const recorder = new FindingRecorder(
    (command) => {
      sent.push(command);
      return busy ? Promise.reject(new WireFault(serverIsBusy('raft', 100))) : Promise.resolve({ ok: true, value: 1 });
    },
    (error) => {
      if (!(error instanceof WireFault)) throw error;
    },
  );
  const flush = async (): Promise<void> => {
    recorder.flush();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const verdict = judge(1, replicas(7, 8, 7));
  recorder.note(1, verdict);
  recorder.flush();
  // Found anew while the command is on its way.
  recorder.note(1, null);
  recorder.flush();
  t.equal(sent.length, 1, 'one command at a time');
  await flush();
  t.equal(recorder.size, 1);
  busy = false;
  await flush();
  t.same(sent.at(-1), { kind: 'recordFindings', findings: [{ shardId: 1, verdict: null }] });
  t.equal(recorder.size, 0);
  for (let shardId = 1; shardId <= findingsPerCommandMax + 1; shardId++) recorder.note(shardId, null);
  await flush();
  t.equal(recorder.size, 1, 'a command carries so many');
});
