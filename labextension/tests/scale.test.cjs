const assert = require('node:assert/strict');
const { test } = require('node:test');

const { bestSoFar, quantile, span, spread, thin, tickLabel, ticks } = require('../lib/cjs/card/scale.js');

test('ticks are round and inside', () => {
  assert.deepEqual(ticks(0.741, 0.855), [0.75, 0.8, 0.85]);
  assert.deepEqual(ticks(0, 24, 8), [0, 5, 10, 15, 20]);
  assert.deepEqual(ticks(3, 3), [3]);
});

test('labels of ticks have the decimals they need', () => {
  const levels = [0.75, 0.775, 0.8];
  assert.deepEqual(levels.map(l => tickLabel(l, levels)), ['0.750', '0.775', '0.800']);
  assert.equal(tickLabel(-2, [-4, -2, 0]), '−2');
  assert.equal(tickLabel(250000, [0, 250000]), '2.5e5');
});

test('a diverged trial does not flatten the picture', () => {
  const losses = [1.2, 1.1, 1.15, 1.3, 1.25, 1.05, 1e6];
  const [low, high] = span(losses, [1.05], false);
  assert.ok(low < 1.05 && low > 0.9);
  assert.ok(high < 2);
});

test('a share stays within its room and equal values have a range', () => {
  const [low, high] = span([0.99, 1], [], true);
  assert.ok(high <= 1.004);
  assert.ok(low < 0.99);
  const [a, b] = span([5, 5], [], true);
  assert.ok(a < 5 && b > 5);
  assert.deepEqual(span([], [], true), [0, 1]);
});

test('the best so far counts completed trials only', () => {
  const points = { numbers: [0, 1, 2, 3, 4], values: [0.5, 0.9, 0.6, null, 0.7], states: 'cpccc' };
  assert.deepEqual(bestSoFar(points, true), [[0, 0.5], [2, 0.6], [4, 0.7]]);
  assert.deepEqual(bestSoFar(points, false), [[0, 0.5]]);
});

test('thinning keeps one point a cell and drops what has no place', () => {
  const xs = Array.from({ length: 10000 }, (_, i) => i);
  const ys = xs.map(i => (i % 97) / 97);
  const kept = thin(xs, ys, x => x / 20, y => y * 180, 3);
  assert.ok(kept.length < 10000 && kept.length > 3000, String(kept.length));
  const cells = new Set(kept.map(i => `${Math.round(xs[i] / 60)},${Math.round((ys[i] * 180) / 3)}`));
  assert.equal(cells.size, kept.length);
  assert.deepEqual(thin([1, 2, 3], [null, NaN, 1], x => x * 10, y => y * 10), [2]);
});

test('an even spread has both ends', () => {
  const some = spread(Array.from({ length: 1000 }, (_, i) => i), 7);
  assert.equal(some.length, 7);
  assert.equal(some[0], 0);
  assert.equal(some[6], 999);
  assert.deepEqual(spread([1, 2], 5), [1, 2]);
});

test('quantiles interpolate as NumPy does', () => {
  // numpy.quantile([1, 2, 4, 8], [0.1, 0.5, 0.9])
  assert.ok(Math.abs(quantile([1, 2, 4, 8], 0.1) - 1.3) < 1e-12);
  assert.equal(quantile([1, 2, 4, 8], 0.5), 3);
  assert.ok(Math.abs(quantile([1, 2, 4, 8], 0.9) - 6.8) < 1e-12);
});
