const assert = require('node:assert/strict');
const { test } = require('node:test');

const { matches, pageOf, sorted } = require('../lib/cjs/card/listing.js');
const { trial } = require('./helpers.cjs');

const numbers = trials => trials.map(t => t.number);

test('what has no value comes last in both orders, equals by number', () => {
  const trials = [trial(0, { value: null }), trial(1, { value: 0.5 }), trial(2, { value: 0.9 }), trial(3, { value: 0.5 })];
  assert.deepEqual(numbers(sorted(trials, 'value', 'desc')), [2, 1, 3, 0]);
  assert.deepEqual(numbers(sorted(trials, 'value', 'asc')), [1, 3, 2, 0]);
});

test('sorting knows states, stars and configurations', () => {
  const trials = [
    trial(0, { state: 'failed', config: {} }),
    trial(1, { starred: true, config: { rank: 16 } }),
    trial(2, { state: 'running', config: { rank: 4 } })
  ];
  assert.deepEqual(numbers(sorted(trials, 'state', 'asc')), [2, 1, 0]);
  assert.deepEqual(numbers(sorted(trials, 'starred', 'desc')), [1, 0, 2]);
  assert.deepEqual(numbers(sorted(trials, 'config.rank', 'desc')), [1, 2, 0]);
});

// The rules are those of store.trial_page; these cases hold there as well.
test('a filter is words and comparisons that must all hold', () => {
  const t = trial(7, { state: 'pruned', because: 'below the median', starred: true, config: { rank: 16, method: 'lora' } });
  for (const text of ['', 'pruned', 'PRUNED median', '#7', '7', 'rank>=16', 'method=lora', 'state:pruned', 'is:starred', 'rank!=8', 'value<0.9']) {
    assert.ok(matches(t, text), text);
  }
  for (const text of ['completed', '#8', 'rank>16', 'method!=lora', 'is!=starred', 'pruned completed', 'method>lora', 'absent=1']) {
    assert.ok(!matches(t, text), text);
  }
});

test('a page counts what matches on all pages', () => {
  const trials = Array.from({ length: 250 }, (_, i) => trial(i));
  const page = pageOf(trials, { offset: 100, limit: 20, sort: 'number', order: 'desc', filter: 'method=lora' });
  assert.equal(page.total, 125);
  assert.equal(page.trials.length, 20);
  assert.equal(page.trials[0].number, 49);
});
