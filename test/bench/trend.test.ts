import t from 'tap';
import { Trend } from '../../bench/support/trend.js';

t.test('a trend finds the growth under a saw tooth, and leaves out what was before', (t) => {
  const flat = new Trend();
  const growing = new Trend();
  for (let i = 0; i < 400; i++) {
    const minute = i / 40;
    const warmUp = minute < 2 ? 1_000 * minute : 2_000;
    const tooth = i % 10;
    flat.add(minute, warmUp + tooth);
    growing.add(minute, warmUp + tooth + 5 * minute);
  }
  t.ok(Math.abs(flat.slopePerMinute(2)) < 0.1);
  t.ok(Math.abs(growing.slopePerMinute(2) - 5) < 0.1);
  t.ok(flat.slopePerMinute(0) > 50, 'the first minutes count when they are asked for');
  t.equal(flat.mean(2), 2_004.5);
  t.equal(flat.max, 2_009);
  t.ok(Number.isNaN(new Trend().slopePerMinute(0)), 'nothing is known without samples');
  t.end();
});
