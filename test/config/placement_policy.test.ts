import t from 'tap';
import { PolicyError, parsePolicy, policyView } from '../../src/config/placement_policy.js';

t.test('a policy is read, and shown as it was written', async (t) => {
  const text = `
voters: 3
on: { disk: [ssd, nvme] }
spread: { over: zone, at_least: 3 }
leader: { zone: a }
learners:
  - count: 1
    on: { zone: c }
`;
  const policy = parsePolicy(text);
  t.same(policy, {
    voters: 3,
    votersOn: [{ key: 'disk', values: ['ssd', 'nvme'] }],
    spread: 'zone',
    spreadOver: 3,
    leaderOn: [{ key: 'zone', values: ['a'] }],
    learners: [{ count: 1, on: [{ key: 'zone', values: ['c'] }] }],
  });
  t.same(policyView(policy), {
    voters: 3,
    on: { disk: ['ssd', 'nvme'] },
    spread: { over: 'zone', at_least: 3 },
    leader: { zone: 'a' },
    learners: [{ count: 1, on: { zone: 'c' } }],
  });
});

t.test('a problem names its line and its path', async (t) => {
  const problem = (text: string): string => {
    try {
      parsePolicy(text);
    } catch (error) {
      if (error instanceof PolicyError) return error.message;
      throw error;
    }
    return 'none';
  };
  t.match(problem('voters: 3\nleader:\n  zone: 7\n'), /^line 3: leader\.zone: /);
  t.match(problem('voters: many\n'), /^line 1: voters: /);
  t.match(problem('voters: 3\nleaders: { zone: a }\n'), /^line 1: policy: .*leaders/);
  t.match(problem('voters: 3\nlearners:\n  - count: 0\n'), /^line 3: learners\.0\.count: /);
  t.match(problem('voters: [\n'), /^line \d+: /);
});
