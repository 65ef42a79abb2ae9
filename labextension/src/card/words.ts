/**
 * The words of every view, as `autoglm_nb/record/words.py` has them: numbers, durations and
 * configurations as a person reads them. The same fact must never read differently in two places.
 *
 * Every string that comes from a person or a file is hostile until it has been through `clean`.
 */

import type { Config, StudyState, Trans, TrialState } from './source';

/** One sign per state of a study, always shown beside the word, never instead of it. */
export const STATE_MARKS: Record<string, string> = {
  queued: '○',
  preparing: '◔',
  running: '●',
  paused: '‖',
  confirming: '◕',
  finished: '✓',
  stopped: '■',
  failed: '×',
  interrupted: '▲'
};

/** One sign per state of a trial; they differ by shape, not by colour alone. */
export const TRIAL_MARKS: Record<string, string> = {
  completed: '●',
  pruned: '○',
  failed: '×',
  running: '▸',
  waiting: '·'
};

// Control characters, direction marks and overrides, lone surrogates.
const UNSAFE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** `text` without control and direction characters, bounded; one line unless `lines`. */
export function clean(text: unknown, limit = 200, lines = false): string {
  let out = String(text ?? '')
    .replace(/\r\n?/g, '\n')
    .replace(UNSAFE, '');
  if (!lines) {
    out = out.split(/\s+/).filter(Boolean).join(' ');
  }
  return out.length <= limit ? out : out.slice(0, limit - 1).trimEnd() + '…';
}

/** `value` if it is a finite number, else null. */
export function finite(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function float(value: number, digits: number): string {
  if (!Number.isFinite(value)) {
    return Number.isNaN(value) ? '–' : value > 0 ? '∞' : '−∞';
  }
  const size = Math.abs(value);
  if (size === 0) {
    return '0';
  }
  if (size >= 1e-3 && size < 1e6) {
    return size < 10 ** digits ? String(Number(value.toPrecision(digits))) : value.toFixed(0);
  }
  const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  return `${short}e${parseInt(exponent, 10)}`;
}

/**
 * A hyper-parameter's value: 0.00081 → "8.1e-4", 16 → "16", ["q", "v"] → "q+v". What is read by a person gets the
 * translator, what is sorted or compared does not.
 */
export function number(value: unknown, digits = 3, trans?: Trans): string {
  if (value === null || value === undefined) {
    return '–';
  }
  if (typeof value === 'boolean') {
    return trans ? (value ? trans.__('yes') : trans.__('no')) : value ? 'yes' : 'no';
  }
  if (typeof value === 'number') {
    return Number.isInteger(value) && Math.abs(value) < 1e9 ? String(value) : float(value, digits);
  }
  if (Array.isArray(value)) {
    return clean(value.map(item => number(item, digits, trans)).join('+'), 60);
  }
  return clean(value, 60);
}

/** A metric's value, to a thousandth where it is of ordinary size: 0.8468 → "0.847". */
export function score(value: unknown, signed = false): string {
  const given = finite(value);
  if (given === null) {
    return '–';
  }
  const sign = signed && given >= 0 ? '+' : given < 0 ? '−' : '';
  const size = Math.abs(given);
  if (size === 0 || (size >= 0.001 && size < 100)) {
    return sign + size.toFixed(3);
  }
  return sign + (size >= 100 && size < 1e6 ? size.toFixed(0) : float(size, 3));
}

/** A signed difference, better being positive: 0.062 → "+0.062". */
export function gain(value: unknown): string {
  return score(value, true);
}

/** A part of one in per cent: 0.62 → "62 %". */
export function share(value: unknown): string {
  const given = finite(value);
  return given === null ? '–' : `${(100 * Math.min(1, Math.max(0, given))).toFixed(0)} %`;
}

/** Seconds as a person says them: 42 → "42 s", 380 → "6 min", 5000 → "1 h 23 min". */
export function duration(seconds: unknown, trans: Trans): string {
  const given = finite(seconds);
  if (given === null) {
    return '–';
  }
  const whole = Math.max(0, Math.round(given));
  if (whole < 100) {
    return trans.__('%1 s', whole);
  }
  const minutes = Math.round(whole / 60);
  if (minutes < 100) {
    return trans.__('%1 min', minutes);
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 48) {
    return minutes % 60 ? trans.__('%1 h %2 min', hours, minutes % 60) : trans.__('%1 h', hours);
  }
  return trans.__('%1 days', Math.floor(hours / 24));
}

/** `macro_f1` → "macro F1"; others with spaces for underscores. */
export function metricName(metric: unknown, trans?: Trans): string {
  const name = clean(metric || 'score', 40);
  const known: Record<string, string> = { macro_f1: 'macro F1', memory_gb: trans ? trans.__('memory (GB)') : 'memory (GB)' };
  return Object.prototype.hasOwnProperty.call(known, name) ? known[name] : name.replace(/_/g, ' ');
}

/** The word of a study's state in the reader's language. */
export function stateName(state: string, trans: Trans): string {
  switch (state as StudyState) {
    case 'queued':
      return trans.__('queued');
    case 'preparing':
      return trans.__('preparing');
    case 'running':
      return trans.__('running');
    case 'paused':
      return trans.__('paused');
    case 'confirming':
      return trans.__('confirming');
    case 'finished':
      return trans.__('finished');
    case 'stopped':
      return trans.__('stopped');
    case 'failed':
      return trans.__('failed');
    case 'interrupted':
      return trans.__('interrupted');
    default:
      return clean(state, 20);
  }
}

/** The sign and the word of a study's state: "● running". */
export function stateWords(state: string, trans: Trans): string {
  return `${STATE_MARKS[state] ?? '·'} ${stateName(state, trans)}`;
}

/** The word of a trial's state in the reader's language. */
export function trialStateName(state: string, trans: Trans): string {
  switch (state as TrialState) {
    case 'waiting':
      return trans.__('waiting');
    case 'running':
      return trans.__('running');
    case 'completed':
      return trans.__('completed');
    case 'pruned':
      return trans.__('pruned');
    case 'failed':
      return trans.__('failed');
    default:
      return clean(state, 20);
  }
}

/** Names and values of a configuration, the searched hyper-parameters alone where any are active. */
export function configItems(config: Config, searched: readonly string[] = [], trans?: Trans): [string, string][] {
  const active = searched.filter(name => Object.prototype.hasOwnProperty.call(config, name));
  const chosen = active.length ? active : Object.keys(config);
  return chosen.map(name => [clean(name, 40), number(config[name], 3, trans)]);
}

/** One line: "learning_rate 8.1e-4 · rank 16 · lora". A method or model speaks for itself. */
export function configLine(config: Config, searched: readonly string[] = [], trans?: Trans): string {
  return configItems(config, searched, trans)
    .map(([name, value]) => (name === 'method' || name === 'model' ? value : `${name} ${value}`))
    .join(' · ');
}

/** Local time of day (with the date when it is not today): "14:05", "2026-11-22 14:05". */
export function clock(seconds: unknown, now = Date.now()): string {
  const given = finite(seconds);
  if (given === null) {
    return '–';
  }
  const at = new Date(given * 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  const today = new Date(now).toDateString() === at.toDateString();
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return today ? time : `${date} ${time}`;
}
