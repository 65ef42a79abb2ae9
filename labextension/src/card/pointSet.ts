/** Points that grow: trials that end are put in place without asking for all of them again. */

import type { Points, Trial } from './source';
import { pointsOf } from './snapshotSource';

/** The place of a trial's number; -1 where it is not there. Numbers without gaps cost nothing to find. */
export function placeOf(numbers: readonly number[], number: number): number {
  const guess = number - (numbers[0] ?? 0);
  if (numbers[guess] === number) {
    return guess;
  }
  const at = lowerBound(numbers, number);
  return numbers[at] === number ? at : -1;
}

/** The first place whose number is not below `value`. */
export function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Put trials into the points, in place; the places that changed. New ones must come after the last. */
export function mergeTrials(points: Points, trials: readonly Trial[]): number[] {
  const fresh = pointsOf(trials);
  const changed: number[] = [];
  fresh.numbers.forEach((number, k) => {
    const at = placeOf(points.numbers, number);
    const [value, state] = [fresh.values[k], fresh.states[k]];
    if (at >= 0) {
      if (points.states[at] !== state || points.values[at] !== value) {
        points.values[at] = value;
        points.states = points.states.slice(0, at) + state + points.states.slice(at + 1);
        changed.push(at);
      }
    } else if (number > (points.numbers[points.numbers.length - 1] ?? -1)) {
      points.numbers.push(number);
      points.values.push(value);
      points.states += state;
      changed.push(points.numbers.length - 1);
    }
  });
  return changed;
}
