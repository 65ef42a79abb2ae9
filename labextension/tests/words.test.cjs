const assert = require('node:assert/strict');
const { test } = require('node:test');

const words = require('../lib/cjs/card/words.js');
const { trans } = require('./helpers.cjs');

// The expected texts are those of autoglm_nb/record/words.py for the same values.
test('numbers read as in the record', () => {
  const cases = [
    [8.1e-4, '8.1e-4'], [16, '16'], [0.05, '0.05'], [2e-5, '2e-5'], [1234.4, '1234'], [1e9, '1e9'], [true, 'yes'],
    [null, '–'], [['q', 'v'], 'q+v'], [0.123456, '0.123'], [-0.00001234, '-1.23e-5'], ['lora', 'lora']
  ];
  for (const [value, text] of cases) {
    assert.equal(words.number(value), text, String(value));
  }
});

test('scores have three decimals where they are of ordinary size', () => {
  assert.equal(words.score(0.8468), '0.847');
  assert.equal(words.score(-0.5), '−0.500');
  assert.equal(words.score(1234.5), '1235');
  assert.equal(words.score(0), '0.000');
  assert.equal(words.score(NaN), '–');
  assert.equal(words.gain(0.062), '+0.062');
});

test('durations grow coarser', () => {
  const said = [42, 380, 5000, 7200, 200000].map(s => words.duration(s, trans));
  assert.deepEqual(said, ['42 s', '6 min', '83 min', '2 h', '2 days']);
});

test('hostile text loses control and direction characters and stays short', () => {
  assert.equal(words.clean('a\u202egnp.exe\u001b[31m\u0000b'), 'agnp.exe[31mb');
  assert.equal(words.clean('x'.repeat(300), 10), 'x'.repeat(9) + '…');
  assert.equal(words.clean('one\r\n  two'), 'one two');
  assert.equal(words.clean('one\r\ntwo', 50, true), 'one\ntwo');
  assert.equal(words.clean('\ud800ok😀'), 'ok😀');
});

test('a configuration names the searched values and lets a method speak for itself', () => {
  const config = { learning_rate: 8.1e-4, rank: 16, method: 'lora', batch_size: 16 };
  assert.equal(words.configLine(config, ['learning_rate', 'rank', 'method']), 'learning_rate 8.1e-4 · rank 16 · lora');
  assert.equal(words.configLine({ batch_size: 16 }, ['rank']), 'batch_size 16');
});

test('a name like that of a built-in property is a name', () => {
  assert.equal(words.metricName('constructor'), 'constructor');
  assert.equal(words.configLine({}, ['toString']), '');
});

test('what a person reads is in the reader’s language, booleans and units too', () => {
  const chinese = { __: text => ({ yes: '是', no: '否', 'memory (GB)': '内存（GB）' })[text] ?? text, _n: text => text };
  assert.equal(words.configLine({ dropout: true, rank: 8 }, [], chinese), 'dropout 是 · rank 8');
  assert.equal(words.number([false, 2], 3, chinese), '否+2');
  assert.equal(words.metricName('memory_gb', chinese), '内存（GB）');
});
