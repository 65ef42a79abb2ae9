/**
 * Sorting, filtering and paging of trials that are at hand: what a saved record does for itself and
 * the kernel and the server do for a live study, by the same rules.
 */

import type { Page, Query, Trial, Value } from './source';
import { finite, number } from './words';

type Key = number | string | null;

const STATE_ORDER: Record<string, number> = { running: 0, waiting: 1, completed: 2, pruned: 3, failed: 4 };

/** What a trial is sorted by: a number, a text, or null (always last). */
export function sortKey(trial: Trial, sort: string): Key {
  if (sort.startsWith('config.')) {
    const value = trial.config?.[sort.slice('config.'.length)];
    return value === undefined || value === null ? null : typeof value === 'number' ? value : number(value);
  }
  switch (sort) {
    case 'state':
      return STATE_ORDER[trial.state] ?? 9;
    case 'value':
      return finite(trial.value);
    case 'seconds':
      return trial.seconds ?? null;
    case 'starred':
      return trial.starred ? 1 : 0;
    case 'proposed_by':
      return trial.proposed_by || null;
    default:
      return trial.number;
  }
}

/** A stable sort by `sort` and `order`; what has no key comes last, equals by number. */
export function sorted(trials: readonly Trial[], sort = 'number', order: 'asc' | 'desc' = 'asc'): Trial[] {
  const sign = order === 'desc' ? -1 : 1;
  const keyed = trials.map(trial => ({ trial, key: sortKey(trial, sort) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) {
      return a.key === b.key ? a.trial.number - b.trial.number : a.key === null ? 1 : -1;
    }
    if (a.key === b.key) {
      return a.trial.number - b.trial.number;
    }
    if (typeof a.key === 'number' && typeof b.key === 'number') {
      return sign * (a.key - b.key);
    }
    return sign * String(a.key).localeCompare(String(b.key), undefined, { numeric: true });
  });
  return keyed.map(item => item.trial);
}

const COMPARISON = /^([\w.-]{1,100})(<=|>=|!=|=|<|>|:)(.+)$/s;

/**
 * Whether a trial answers a filter, by the rules of `store.trial_page`: every word must hold. `#7`
 * and `7` are a trial's number (or a value), `rank>=16` and `state:pruned` compare, other words may
 * stand anywhere in state, origin, reason or configuration.
 */
export function matches(trial: Trial, filter: string): boolean {
  const words = filter.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  return words.slice(0, 20).every(word => holds(trial, word.replace(/"/g, '')));
}

function holds(trial: Trial, word: string): boolean {
  const found = COMPARISON.exec(word);
  if (found) {
    return compares(trial, found[1], found[2] === ':' ? '=' : found[2], found[3]);
  }
  if (/^#\d{1,9}$/.test(word)) {
    return trial.number === Number(word.slice(1));
  }
  const given = Number(word);
  if (word.trim() && Number.isFinite(given)) {
    const values = Object.values(trial.config ?? {});
    return trial.number === given || values.includes(given) || String(trial.value ?? '').startsWith(word);
  }
  const text = [trial.state, trial.proposed_by, trial.because, JSON.stringify(trial.config ?? {})].join(' ');
  return text.toLowerCase().includes(word.toLowerCase());
}

function compares(trial: Trial, key: string, sign: string, given: string): boolean {
  if (key === 'is' && given.toLowerCase() === 'starred') {
    return Boolean(trial.starred) === (sign !== '!=');
  }
  if (key === 'starred') {
    const wanted = ['1', 'yes', 'true'].includes(given.toLowerCase());
    return (Boolean(trial.starred) === wanted) === (sign !== '!=');
  }
  const left = field(trial, key);
  const right = Number(given);
  if (given.trim() && Number.isFinite(right)) {
    if (typeof left !== 'number') {
      return false;
    }
    const signs: Record<string, boolean> = {
      '=': left === right,
      '!=': left !== right,
      '<': left < right,
      '<=': left <= right,
      '>': left > right,
      '>=': left >= right
    };
    return signs[sign];
  }
  const text = left === null || left === undefined ? '' : String(left).toLowerCase();
  return sign === '=' ? text === given.toLowerCase() : sign === '!=' ? text !== given.toLowerCase() : false;
}

function field(trial: Trial, key: string): Value | undefined {
  const known: Record<string, Value | undefined> = {
    number: trial.number,
    state: trial.state,
    value: trial.value,
    seconds: trial.seconds,
    step: trial.step,
    attempts: trial.attempts,
    proposed_by: trial.proposed_by,
    because: trial.because
  };
  if (Object.prototype.hasOwnProperty.call(known, key)) {
    return known[key];
  }
  const name = key.replace(/^config\./, '');
  return Object.prototype.hasOwnProperty.call(trial.config ?? {}, name) ? trial.config[name] : undefined;
}

/** One page of trials that are all at hand. */
export function pageOf(trials: readonly Trial[], query: Query): Page {
  const found = trials.filter(trial => matches(trial, query.filter ?? ''));
  const ordered = sorted(found, query.sort ?? 'number', query.order ?? 'asc');
  return { trials: ordered.slice(query.offset, query.offset + query.limit), total: ordered.length };
}
