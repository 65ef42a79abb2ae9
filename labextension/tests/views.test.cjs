const assert = require('node:assert/strict');
const { test } = require('node:test');

const { brushKey, inside } = require('../lib/cjs/card/parallel.js');
const { asColumn, bestIndices, columnValue, foundParameters } = require('../lib/cjs/card/parameters.js');
const { envelope } = require('../lib/cjs/card/spacePanel.js');
const { bars, verdict } = require('../lib/cjs/card/transfer.js');
const { PAGE, TrialList } = require('../lib/cjs/card/trialList.js');
const { mergeTrials, placeOf } = require('../lib/cjs/card/pointSet.js');
const { headOf, pointsFrom, readingsOf } = require('../lib/cjs/kernelSource.js');
const { pageOf } = require('../lib/cjs/card/listing.js');
const { trial } = require('./helpers.cjs');

test('a line is inside when every selected axis holds it', () => {
  const line = { number: 1, at: [0.5, null, 1], value: 1, best: false };
  assert.ok(inside(line, [null, null, null]));
  assert.ok(inside(line, [[0.4, 0.5], null, [0.9, 1]]));
  assert.ok(!inside(line, [[0.6, 1], null, null]));
  assert.ok(!inside(line, [null, [0, 1], null])); // an axis that does not apply to it
});

test('arrow keys make, move, size and clear a selection within its axis', () => {
  assert.deepEqual(brushKey(null, 'ArrowUp', false), [0.5, 1]);
  assert.deepEqual(brushKey([0.5, 1], 'ArrowUp', false), [0.5, 1]);
  const down = brushKey([0.5, 1], 'ArrowDown', false);
  assert.ok(Math.abs(down[0] - 0.45) < 1e-9 && Math.abs(down[1] - 0.95) < 1e-9);
  assert.ok(brushKey([0.2, 0.25], 'ArrowDown', true)[1] > 0.2);
  assert.equal(brushKey([0, 1], 'Escape', false), null);
  assert.equal(brushKey([0, 1], 'x', false), undefined);
});

test('the best of all points, by either direction', () => {
  const points = { numbers: [5, 6, 7, 8], values: [0.2, 0.9, 0.5, 0.1], states: 'cpcc' };
  assert.deepEqual(bestIndices(points, true, 2), [2, 0]);
  assert.deepEqual(bestIndices(points, false, 2), [3, 0]);
});

test('a column gives words for choices and nothing where a parameter was not active', () => {
  const points = { numbers: [0, 1], values: [1, 2], states: 'cc', parameters: { method: { choices: ['dora', 'lora'], values: [1, null] }, on: { choices: ['false', 'true'], values: [0, 1] } } };
  assert.equal(columnValue(points, 'method', 0), 'lora');
  assert.equal(columnValue(points, 'method', 1), undefined);
  assert.equal(columnValue(points, 'absent', 0), undefined);
  assert.deepEqual(asColumn({ name: 'on', kind: 'categorical', choices: [true, false] }).choices, ['true', 'false']);
});

test('axes of an unknown space are what differed between trials', () => {
  const points = { numbers: [0, 1], values: [1, 2], states: 'cc', parameters: {
    rate: { choices: null, values: [1e-5, 1e-2] }, rank: { choices: null, values: [8, 8] }, method: { choices: ['dora', 'lora'], values: [0, 1] }
  } };
  const found = foundParameters(points);
  assert.deepEqual(found.map(p => p.name), ['rate', 'method']);
  assert.equal(found[0].log, true);
});

test('trials that end are merged into the points', () => {
  const points = { numbers: [3, 4, 6], values: [0.1, null, 0.3], states: 'crc' };
  const changed = mergeTrials(points, [trial(4, { value: 0.7 }), trial(3, { value: 0.1 }), trial(9, { value: 0.9 }), trial(5, { value: 1 })]);
  assert.deepEqual(points, { numbers: [3, 4, 6, 9], values: [0.1, 0.7, 0.3, 0.9], states: 'cccc' });
  assert.deepEqual(changed, [1, 3]); // 5 lies between known ones: it comes with all points
  assert.equal(placeOf([3, 4, 6, 9], 6), 2);
  assert.equal(placeOf([3, 4, 6, 9], 5), -1);
});

test('the band of late proposals narrows with the search', () => {
  const xs = Array.from({ length: 200 }, (_, i) => i);
  const at = xs.map(i => 0.5 + ((i % 2 ? 1 : -1) * (200 - i)) / 400);
  const band = envelope(xs, at);
  const width = ([, low, high]) => high - low;
  assert.ok(width(band[band.length - 1]) < 0.3 * width(band[0]));
  assert.deepEqual(envelope([1, 2], [0.1, 0.2]), []);
});

test('transfer is a gain or a loss only when its interval keeps clear of zero', () => {
  assert.equal(verdict({ mean: 0.06, low: 0.04, high: 0.08 }), 'gain');
  assert.equal(verdict({ mean: -0.02, low: -0.03, high: -0.01 }), 'negative');
  assert.equal(verdict({ mean: 0.02, low: -0.01, high: 0.05 }), 'unclear');
  assert.equal(verdict({ mean: 0.02, low: null, high: null }), 'unclear');
  assert.equal(verdict(null), 'same');
  const drawn = bars([{ mean: 0.4, low: 0.2, high: 0.6 }, { mean: -0.2, low: -0.4, high: 0 }]);
  assert.ok(Math.abs(drawn.zero - 0.4) < 1e-9);
  assert.ok(Math.abs(drawn.at[1].from - 0.2) < 1e-9 && Math.abs(drawn.at[1].to - 0.4) < 1e-9);
});

test('the list loads the pages in view, merges changes and forgets answers to an old question', async () => {
  const all = Array.from({ length: 1000 }, (_, i) => trial(i));
  const asked = [];
  const waiting = [];
  const source = {
    page: query => {
      asked.push([query.offset, query.sort]);
      return new Promise(resolve => waiting.push(() => resolve(pageOf(all, query))));
    }
  };
  const flush = async () => {
    while (waiting.length) waiting.shift()();
    await new Promise(resolve => setImmediate(resolve));
  };
  let drawn = 0;
  const list = new TrialList(source, () => drawn++, () => assert.fail());
  list.reload();
  await flush();
  assert.equal(list.total, 1000);
  assert.equal(list.at(0).number, 999);
  list.ensure(110, 130);
  list.ensure(110, 130); // asked for once
  assert.deepEqual(asked.slice(1).map(a => a[0]), [PAGE, 2 * PAGE]);
  list.ask({ sort: 'value', order: 'asc' });
  await flush(); // the answers to the old question come first and are dropped
  assert.equal(list.at(0).number, 0);
  assert.equal(list.at(110), undefined);
  assert.ok(list.merge([trial(0, { starred: true })]));
  assert.ok(list.at(0).starred);
  assert.ok(!list.merge([trial(999)]));
  assert.equal(drawn, 2);
});

test('parts of the kernel become a head, readings by row, points with gaps', () => {
  const head = headOf({
    head: { version: 1, study: { name: 'a' }, trials: [] },
    facts: { space: { x: 1 }, front: [2], cell: '%%autotune' },
    curve: { points: [[0, 1]] },
    notes: { notes: [{ id: 'n' }] },
    readings: { t: [1, 2], cpu_percent: [10, 20], gpu_percent: [null, null] }
  });
  assert.equal(head.study.cell, '%%autotune');
  assert.deepEqual(head.curve, [[0, 1]]);
  assert.deepEqual(head.readings[1], { t: 2, cpu_percent: 20, gpu_percent: null });
  assert.deepEqual(readingsOf(undefined), []);
  const floats = new DataView(new ArrayBuffer(12));
  [0.5, NaN, 0.8470001].forEach((v, i) => floats.setFloat32(4 * i, v, true));
  const points = pointsFrom({ count: 3, first: 7, numbers: null, states: 'cfc' }, [floats]);
  assert.deepEqual(points.numbers, [7, 8, 9]);
  assert.deepEqual(points.values, [0.5, null, 0.847]);
  assert.deepEqual(pointsFrom({ count: 1, numbers: [4], states: 'c' }, [floats]).numbers, [4]);
});
