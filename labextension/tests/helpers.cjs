/** What the tests of the drawing core share: a translator that fills in, a trial, a head. */

const strfmt = (text, ...args) => text.replace(/%(\d)/g, (_, i) => String(args[i - 1]));

exports.trans = {
  __: (text, ...args) => strfmt(text, ...args),
  _n: (one, many, n, ...args) => strfmt(n === 1 ? one : many, n, ...args)
};

exports.trial = (number, changes = {}) => ({
  number,
  state: 'completed',
  value: number / 10,
  values: [number / 10],
  config: { learning_rate: 1e-4 * (number + 1), method: number % 2 ? 'lora' : 'dora', rank: 8 },
  proposed_by: 'expected improvement',
  because: '',
  reports: [],
  progress: 1,
  step: 10,
  total_steps: 10,
  loss: null,
  seconds: 10 * number,
  attempts: 1,
  metrics: {},
  starred: false,
  ...changes
});

exports.head = (changes = {}) => ({
  version: 1,
  study: {
    name: 'reviews', identity: 'ab', state: 'running', reason: '', model: 'minilm', data: 'movies',
    metric: 'accuracy', direction: 'maximize', objectives: [], active_seconds: 100, ...changes.study
  },
  headline: {
    best_value: 0.847, best_trial: 8, best_config: { learning_rate: 8.1e-4, method: 'lora', rank: 16 },
    baseline_value: 0.785, gain: 0.062, finished: 11, total: 24, seconds_left: 372, next: '', ...changes.headline
  },
  trials: changes.trials ?? [],
  trials_total: 13,
  curve: [],
  space: changes.space ?? {
    dimensions: [
      { name: 'learning_rate', place: 0, kind: 'float', low: 1e-5, high: 1e-2, log: true },
      { name: 'method', place: 1, kind: 'categorical', choices: ['lora', 'dora'] },
      { name: 'rank', place: 2, kind: 'categorical', choices: [4, 8, 16, 32], condition: { name: 'method', op: 'in', value: ['lora'] } }
    ],
    constants: [{ name: 'batch_size', place: 3, value: 16 }]
  },
  readings: [],
  notes: [],
  final: changes.final ?? null,
  front: changes.front ?? [],
  provenance: {},
  messages: []
});
