/** What mattered, where the search looked, what each process used: the words and numbers behind the charts. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { incumbents, originOf, origins, trailRows, trails, trialWords } = require('../lib/cjs/card/evolution.js');
const { afterWords, importanceOf, importanceWords } = require('../lib/cjs/card/importanceBars.js');
const { drawnProcesses, processLines, processRows, processWords, severalProcesses, tellsOf } = require('../lib/cjs/card/processes.js');
const { pointsOf } = require('../lib/cjs/card/snapshotSource.js');
const { pointsFrom, readingsOf } = require('../lib/cjs/kernelSource.js');
const { trans, trial } = require('./helpers.cjs');

test('importance is drawn greatest first, what does not read as such is left out', () => {
  const found = importanceOf([
    { parameter: 'rank', value: 0.05, low: 0.01, high: 0.2, matters: false },
    { parameter: 'learning_rate', value: 0.62, low: 0.4, high: 0.78, matters: true },
    { parameter: 'x', value: null, low: 0, high: 1, matters: true },
    { parameter: 7, value: 0.1, low: 0, high: 1 },
    null
  ]);
  assert.deepEqual(found.map(e => e.parameter), ['learning_rate', 'rank']);
  assert.deepEqual(importanceOf(undefined), []);
  assert.deepEqual(importanceOf('x'), []);
});

test('a bar says its interval and whether it is more than noise, in words', () => {
  const [first, second] = importanceOf([
    { parameter: 'learning_rate', value: 0.62, low: 0.4, high: 0.78, matters: true },
    { parameter: 'rank\u202e', value: 0.05, low: 0.01, high: 0.2, matters: false }
  ]);
  assert.equal(importanceWords(first, trans), 'learning_rate 62 % (40 % to 78 %), more than noise');
  assert.equal(importanceWords(second, trans), 'rank 5 % (1 % to 20 %), no more than noise');
});

test('importance says after how many trials only where that is long ago', () => {
  assert.equal(afterWords(24, trans), 'computed after 24 trials');
  assert.equal(afterWords(1, trans), 'computed after 1 trial');
  assert.equal(afterWords(undefined, trans), '');
});

test('what proposed a trial is read from its words', () => {
  assert.equal(originOf('random start'), 'random');
  assert.equal(originOf('random draw'), 'random');
  assert.equal(originOf('independent draw (conditional)'), 'random');
  for (const words of ['expected improvement; independent draw (conditional): rank', 'TPE', 'TPE (one dimension)', 'CMA-ES', 'random_forest']) {
    assert.equal(originOf(words), 'model', words);
  }
  for (const words of ['given', 'given; expected improvement: rank', 'grid', 'the only configuration', 'default configuration']) {
    assert.equal(originOf(words), 'given', words);
  }
  assert.equal(originOf(''), null);
  assert.equal(originOf(undefined), null);
});

test('saved trials and the kernel tell the same of what proposed them', () => {
  const trials = [trial(0, { proposed_by: 'random start' }), trial(1, { proposed_by: 'TPE; random start: rank' }), trial(2, { proposed_by: '' })];
  const saved = pointsOf(trials, { parameters: true });
  assert.deepEqual(origins(saved), ['random', 'model', null]);
  const floats = new DataView(new ArrayBuffer(12));
  const told = pointsFrom({ count: 3, first: 0, states: 'ccc', parameters: saved.parameters, proposed_by: saved.proposed_by }, [floats]);
  assert.deepEqual(origins(told), origins(saved));
  assert.deepEqual(origins(pointsOf(trials)), [null, null, null]); // not asked for
});

test('the best so far are those of the curve, also where points or parts of the curve are left out', () => {
  const points = { numbers: [0, 1, 3, 5, 8], values: [0.5, 0.4, 0.7, 0.6, 0.9], states: 'ccccc' };
  const curve = [[0, 0.5], [1, 0.5], [2, 0.6], [3, 0.7], [5, 0.7], [8, 0.9]];
  assert.deepEqual(incumbents(points, curve), [0, 2, 4]);
  // The improvement of trial 3 was thinned out of the curve: trial 5 was not the one that made it.
  assert.deepEqual(incumbents(points, [[0, 0.5], [5, 0.7], [8, 0.9]]), [0, 4]);
  assert.deepEqual(incumbents(points, undefined), []);
});

test('the table behind the evolution has the proposer and the best so far in words', () => {
  const points = pointsOf([trial(0, { proposed_by: 'random start' }), trial(1, { proposed_by: 'TPE' })], { parameters: true });
  const list = [{ name: 'learning_rate', kind: 'float', low: 1e-5, high: 1e-2, log: true }, { name: 'method', kind: 'categorical', choices: ['lora', 'dora'] }];
  const marked = { places: new Set([1]), words: 'best so far' };
  assert.deepEqual(trailRows(points, list, marked, trans), [
    ['#1', 'TPE', '0.100 (best so far)', '2e-4', 'lora'],
    ['#0', 'random start', '0.000', '1e-4', 'dora']
  ]);
  assert.equal(trialWords(points, list, marked, 1, trans), '#1 · 0.100 · TPE · best so far · learning_rate 2e-4, method lora');
  const [rate, method] = trails(points, list);
  assert.ok(Math.abs(rate.at[0] - 1 / 3) < 1e-9);
  assert.deepEqual(method.at, [1, 0]);
});

const used = (pid, cpu, memory, gpu = null) => ({ pid, cpu_percent: cpu, memory_gb: memory, gpu_percent: gpu, gpu_memory_gb: null });

test('processes are drawn where there are several: the worker, then those that stayed longest', () => {
  const readings = [
    { t: 1, processes: [used(10, 90, 1), used(12, 5, 0.5)] },
    { t: 2, processes: [] },
    { t: 3, processes: [used(10, 80, 1.2), used(13, 6, 0.7), used(12, 7, 0.6)] }
  ];
  assert.ok(severalProcesses(readings));
  assert.deepEqual(drawnProcesses(readings), [10, 12, 13]);
  const lines = processLines(readings, [10, 12, 13], 'cpu_percent');
  assert.deepEqual(lines, [[90, null, 80], [5, null, 7], [null, null, 6], [null, null, null]]);
  assert.ok(!severalProcesses([{ t: 1 }, { t: 2, processes: [used(10, 1, 1)] }]));
  assert.deepEqual(drawnProcesses([{ t: 1 }]), []);
});

test('no more lines than there are patterns, and the worker of today where it was started again', () => {
  const readings = [
    { t: 1, processes: [used(1, 1, 1), used(2, 1, 1), used(3, 1, 1), used(4, 1, 1)] },
    { t: 2, processes: [used(9, 1, 1), used(4, 1, 1)] }
  ];
  assert.deepEqual(drawnProcesses(readings), [9, 4, 1, 2]);
});

test('the table of processes has every one, newest first, a dash for what the driver does not tell', () => {
  const readings = [{ t: 1, processes: [used(10, 90, 1), used(12, 5.4, 0.52, 33)] }, { t: 2 }];
  const rows = processRows(readings, trans).map(row => row.slice(1));
  assert.deepEqual(rows, [
    ['worker (10)', '90 %', '1.0 GB', '–', '–'],
    ['process 12', '5 %', '0.5 GB', '33 %', '–']
  ]);
  assert.match(processWords(readings[0], 'memory_gb', trans), /· worker \(10\) 1\.0 GB · process 12 0\.5 GB$/);
  assert.equal(processWords(readings[1], 'memory_gb', trans), '');
  assert.ok(tellsOf(readings, 'gpu_percent') && !tellsOf(readings, 'gpu_memory_gb'));
});

test('the column of processes comes back by row', () => {
  const rows = readingsOf({ t: [1, 2], cpu_percent: [1, 2], processes: [[], [used(10, 1, 1), used(11, 1, 1)]] });
  assert.deepEqual(rows[0].processes, []);
  assert.ok(severalProcesses(rows) && !severalProcesses(rows.slice(0, 1)));
});
