const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Story } = require('../lib/cjs/card/story.js');
const { conditionWords, holds, merged, parameters, position, rangeWords, valueAt } = require('../lib/cjs/card/space.js');
const { pointsOf } = require('../lib/cjs/card/snapshotSource.js');
const { parseValue } = require('../lib/cjs/card/editor.js');
const { stepCosts } = require('../lib/cjs/card/packs.js');
const { flat } = require('../lib/cjs/card/provenance.js');
const { head, trans, trial } = require('./helpers.cjs');

test('the headline says the answer, the gain, how far and how long', () => {
  const story = new Story(head(), trans);
  assert.equal(story.best, 'Best so far 0.847 accuracy');
  assert.equal(story.gain, '(+0.062 over the default settings)');
  assert.equal(story.count, 'trial 12 of 24');
  assert.equal(story.timeLeft, 'about 6 min left');
  assert.equal(story.config, 'learning_rate 8.1e-4 · lora · rank 16');
});

test('a finished study counts what it did and speaks no more of time', () => {
  const story = new Story(head({ study: { state: 'finished' }, headline: { finished: 24 } }), trans);
  assert.equal(story.best, 'Best 0.847 accuracy');
  assert.equal(story.count, '24 of 24 trials');
  assert.equal(story.timeLeft, '');
});

test('nothing known reads as nothing known', () => {
  const story = new Story({ study: {}, headline: {} }, trans);
  assert.equal(story.best, 'No result yet');
  assert.deepEqual(story.running, []);
});

test('several objectives are told by their front', () => {
  const story = new Story(head({ study: { objectives: ['accuracy', 'memory_gb'] }, front: [1, 4] }), trans);
  assert.equal(story.best, 'Pareto front of 2 trials over accuracy and memory (GB)');
});

test('the final sentence claims no more than the interval carries', () => {
  const final = (low, high) => ({
    metric: 'accuracy', split: 'test', rows: 100, seeds: [1, 2, 3], winner: { mean: 0.8, low: 0.7, high: 0.9, values: [] },
    baseline: null, majority: null, difference: { mean: 0.05, low, high, p: 0.1 }
  });
  const said = (low, high) => new Story(head({ final: final(low, high) }), trans).finalSentence;
  assert.match(said(0.01, 0.09), /^Better than the default settings by \+0\.050/);
  assert.match(said(-0.09, -0.01), /^Worse/);
  assert.match(said(-0.01, 0.09), /not clear from these seeds/);
  assert.equal(
    new Story(head({ final: final(0, 1) }), trans).finalCaption,
    'Accuracy on 100 test rows, which selection never saw, 3 seeds (1, 2, 3)'
  );
});

test('a space is read in the order of the cell, with conditions in words', () => {
  const list = parameters(head().space);
  assert.deepEqual(list.map(p => p.name), ['learning_rate', 'method', 'rank', 'batch_size']);
  assert.equal(rangeWords(list[0], trans), '1e-5 to 0.01, log scale');
  assert.equal(conditionWords(list[2].condition), 'method in lora');
  assert.equal(conditionWords({ all: [{ name: 'a', op: '==', value: 1 }, { any: [{ name: 'b', op: '<', value: 2 }, { name: 'c', op: '>', value: 3 }] }] }), 'a == 1 and (b < 2 or c > 3)');
  assert.ok(holds(list[2].condition, { method: 'lora' }));
  assert.ok(!holds(list[2].condition, { method: 'dora' }));
  assert.ok(!holds(list[2].condition, {}));
});

test('positions on an axis follow its scale and come back', () => {
  const rate = { name: 'learning_rate', kind: 'float', low: 1e-5, high: 1e-2, log: true };
  assert.ok(Math.abs(position(rate, 1e-3) - 2 / 3) < 1e-9);
  assert.ok(Math.abs(valueAt(rate, 2 / 3) - 1e-3) < 1e-9);
  const rank = { name: 'rank', kind: 'categorical', choices: [4, 8, 16, 32] };
  assert.equal(position(rank, 16), 2 / 3);
  assert.equal(position(rank, 5), null);
  assert.equal(valueAt(rank, 2 / 3), 16);
  assert.equal(position(rate, undefined), null);
});

test('two ranges of one name are one axis', () => {
  const space = { dimensions: [
    { name: 'rank', kind: 'categorical', choices: [4, 8] },
    { name: 'rank', kind: 'categorical', choices: [8, 64] },
    { name: 'alpha', kind: 'int', low: 1, high: 4 },
    { name: 'alpha', kind: 'int', low: 8, high: 16 }
  ] };
  const [rank, alpha] = merged(space);
  assert.deepEqual(rank.choices, [4, 8, 64]);
  assert.deepEqual([alpha.low, alpha.high], [1, 16]);
});

test('points of saved trials: a pruned one has its last report, columns index their choices', () => {
  const points = pointsOf(
    [trial(1, { state: 'pruned', value: null, reports: [[0, 0.2], [1, 0.3]] }), trial(0), trial(2, { state: 'running', value: null, reports: [[0, 0.4]] })],
    { parameters: true, objectives: true }
  );
  assert.deepEqual(points.numbers, [0, 1, 2]);
  assert.deepEqual(points.values, [0, 0.3, null]);
  assert.equal(points.states, 'cpr');
  assert.deepEqual(points.parameters.method, { choices: ['dora', 'lora'], values: [0, 1, 0] });
  assert.equal(points.parameters.rank.choices, null);
});

test('the editor refuses what the space does not hold', () => {
  const rate = { name: 'x', kind: 'float', low: 0, high: 1 };
  const whole = { name: 'n', kind: 'int', low: 1, high: 9 };
  const choice = { name: 'c', kind: 'categorical', choices: ['a', 4] };
  assert.deepEqual(parseValue(rate, ' 0,5 '), { value: 0.5 });
  assert.deepEqual(parseValue(rate, ''), { fault: 'number' });
  assert.deepEqual(parseValue(rate, '1.5'), { fault: 'range' });
  assert.deepEqual(parseValue(whole, '2.5'), { fault: 'whole' });
  assert.deepEqual(parseValue(choice, '4'), { value: 4 });
  assert.deepEqual(parseValue(choice, '"b"'), { fault: 'choice' });
});

test('provenance is flattened, empty facts left out', () => {
  assert.deepEqual(flat({ data: { rows: 10, note: null }, versions: { torch: '2.13' }, seeds: [1, 2] }), [
    ['data.rows', '10'],
    ['versions.torch', '2.13'],
    ['seeds', '1, 2']
  ]);
});

// The expected sentences are those of autoglm_nb/record/story.py.
test('a decision is a sentence, with what has changed since', () => {
  const said = changes => {
    const decision = { verdict: 'approve', reviewer: 'Mei', reason: 'Fair on all groups.', decided_at: '', trial: 3, current: true, ...changes };
    return new Story({ ...head(), decision }, trans).decision;
  };
  assert.equal(said({}), 'Approved by Mei (the model of trial 3): Fair on all groups.');
  assert.equal(
    said({ verdict: 'reject', reviewer: '', reason: '', trial: null, current: false }),
    'Rejected (this study). Another trial has won since; nothing was decided about it.'
  );
  assert.equal(said({ verdict: 'toString' }), '');
  assert.equal(new Story(head(), trans).decision, '');
});

test('what a step costs is said where prediction and measurement are both known', () => {
  const packs = { now: [], alone: [], predicted: { seconds_per_step: 0.4, pass_memory_gb: 1.24 }, measured: { seconds_per_step: 0.412 } };
  assert.deepEqual(stepCosts(packs, trans), ['A step: 0.412 s measured, 0.4 s predicted']);
  packs.measured.pass_memory_gb = 1.5;
  assert.equal(stepCosts(packs, trans)[1], 'Memory of a pass: 1.5 GB measured, 1.2 GB predicted');
  assert.deepEqual(stepCosts({ now: [], alone: [], predicted: null, measured: null }, trans), []);
});
