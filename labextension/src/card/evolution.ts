/**
 * How a search went, trial by trial: what proposed each trial, and which trials were the best so far
 * when they ended. A study's space stays as it is; what moves is where in it the sampler looks.
 */

import { columnValue } from './parameters';
import type { Shape } from './plot';
import type { Points, Trans } from './source';
import { position, type Parameter } from './space';
import { clean, finite, number, score } from './words';

/** Whether chance, a model of the trials so far, or a person (or a list) proposed a trial. */
export type Origin = 'random' | 'model' | 'given';

export const SHAPES: Record<Origin, Shape> = { random: 'ring', model: 'disc', given: 'square' };
export const SIGNS: Record<Origin, string> = { random: '○', model: '●', given: '■' };
export const ORIGINS: readonly Origin[] = ['random', 'model', 'given'];

const GIVEN = /^(given|default configuration|the only configuration|grid)$/;
const RANDOM = /^(random start|random draw|independent draw)\b/;

/** The kind of proposal that `proposed_by` tells of; null where it tells nothing. */
export function originOf(words: string | null | undefined): Origin | null {
  const told = (words ?? '').split(';')[0].trim();
  return !told ? null : RANDOM.test(told) ? 'random' : GIVEN.test(told) ? 'given' : 'model';
}

/** What proposed the trial at a place, in the words of the study; "" where it is not known. */
export function proposer(points: Points, i: number): string {
  const at = points.proposed_by?.values[i];
  return at === null || at === undefined ? '' : clean(points.proposed_by?.choices?.[at] ?? '', 60);
}

/** The kind of proposal of each point. */
export function origins(points: Points): (Origin | null)[] {
  const kinds = (points.proposed_by?.choices ?? []).map(originOf);
  return points.numbers.map((_, i) => kinds[points.proposed_by?.values[i] ?? -1] ?? null);
}

/**
 * Places of the trials that were the best so far when they ended, by the study's own curve: points may
 * have been left out, so that the points alone cannot tell.
 */
export function incumbents(points: Points, curve: readonly (readonly [number, number])[] | undefined): number[] {
  const levels = new Map<number, number>();
  let before: number | null = null;
  for (const [trial, best] of curve ?? []) {
    if (best !== before) {
      levels.set(trial, best);
    }
    before = best;
  }
  const found: number[] = [];
  points.numbers.forEach((trial, i) => {
    const [level, value] = [levels.get(trial), finite(points.values[i])];
    // A curve that left points out may show an improvement at a later trial than the one that made it.
    if (level !== undefined && value !== null && Math.abs(value - level) <= 1e-5 * Math.max(Math.abs(level), 1e-9)) {
      found.push(i);
    }
  });
  return found;
}

/** What a legend calls a kind of proposal. */
export function originWords(origin: Origin, trans: Trans): string {
  switch (origin) {
    case 'random':
      return trans.__('at random');
    case 'model':
      return trans.__('by the model of past trials');
    case 'given':
      return trans.__('given');
  }
}

/** The places that have a star, and what that means. */
export interface Marked {
  places: ReadonlySet<number>;
  words: string;
}

export interface Trail {
  p: Parameter;
  /** Positions on the parameter's axis, 0 to 1, by point. */
  at: (number | null)[];
}

/** Where each parameter was looked for. */
export function trails(points: Points, list: readonly Parameter[]): Trail[] {
  return list.map(p => ({ p, at: points.numbers.map((_, i) => position(p, columnValue(points, p.name, i))) }));
}

/** One trial in words, for the cursor. */
export function trialWords(points: Points, list: readonly Parameter[], marked: Marked, i: number, trans: Trans): string {
  const values = list
    .map(p => [p, columnValue(points, p.name, i)] as const)
    .filter(([, value]) => value !== undefined)
    .map(([p, value]) => `${clean(p.name, 30)} ${number(value, 3, trans)}`);
  const parts = [`#${points.numbers[i]}`, score(points.values[i]), proposer(points, i), marked.places.has(i) ? marked.words : '', values.join(', ')];
  return parts.filter(Boolean).join(' · ');
}

/** The rows of the table behind the chart, newest first. */
export function trailRows(points: Points, list: readonly Parameter[], marked: Marked, trans: Trans): string[][] {
  return points.numbers
    .map((trial, i) => [
      `#${trial}`,
      proposer(points, i) || '–',
      marked.places.has(i) ? `${score(points.values[i])} (${marked.words})` : score(points.values[i]),
      ...list.map(p => number(columnValue(points, p.name, i), 3, trans))
    ])
    .reverse();
}
