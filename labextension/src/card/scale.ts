/**
 * Scales and thinning for the charts, as `autoglm_nb/record/series.py` has them. A diverged trial
 * can have a loss of a million: the range follows the best values and the bulk of the others.
 */

import type { Points } from './source';

/** Round numbers inside [low, high], roughly `about` of them. */
export function ticks(low: number, high: number, about = 4): number[] {
  if (!(high > low)) {
    return [low];
  }
  const raw = (high - low) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5, 10].find(m => m * power >= raw * 0.999) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const found: number[] = [];
  for (let i = first; i <= last; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

/** The range of a chart of values, [low, high] with low < high. */
export function span(values: readonly number[], always: readonly number[], maximize: boolean): [number, number] {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) {
    const known = always.filter(Number.isFinite);
    return known.length ? padded(Math.min(...known), Math.max(...known)) : [0, 1];
  }
  const cut = sorted.length > 5 ? Math.max(1, Math.floor(0.9 * sorted.length)) : sorted.length;
  const bulk = withoutGiants(maximize ? sorted.slice(-cut) : sorted.slice(0, cut));
  const reach = 1.5 * (bulk[bulk.length - 1] - bulk[0]);
  let low = bulk[0];
  let high = bulk[bulk.length - 1];
  const [least, most] = [low - reach, high + reach];
  for (const v of sorted) {
    if (v >= least && v <= most) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  }
  for (const v of always) {
    if (Number.isFinite(v)) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  }
  return padded(low, high);
}

function padded(low: number, high: number): [number, number] {
  const pad = 0.08 * (high - low) || Math.max(Math.abs(high), 1e-6) * 0.05;
  if (low >= 0 && high <= 1) {
    return [Math.max(low - pad, -0.004), Math.min(high + pad, 1.004)]; // a share has no room outside
  }
  return [low - pad, high + pad];
}

function withoutGiants(values: number[]): number[] {
  const middle = values[Math.floor(values.length / 2)];
  const near = values.filter(v => Math.abs(v - middle) <= 100 * Math.max(Math.abs(middle), 1e-9));
  return near.length ? near : values;
}

/** The trials at which the best changed, `[number, best so far]`. */
export function bestSoFar(points: Points, maximize: boolean): [number, number][] {
  const found: [number, number][] = [];
  for (let i = 0; i < points.numbers.length; i++) {
    const value = points.values[i];
    if (points.states[i] !== 'c' || value === null || !Number.isFinite(value)) {
      continue;
    }
    const last = found[found.length - 1];
    if (!last || (maximize ? value > last[1] : value < last[1])) {
      found.push([points.numbers[i], value]);
    }
  }
  return found;
}

/**
 * Indices of the points to draw: one for each cell of `cell` pixels, so that a picture of ten
 * thousand trials looks the same and costs as much as one of a thousand.
 */
export function thin(
  xs: readonly number[],
  ys: readonly (number | null)[],
  across: (x: number) => number,
  up: (y: number) => number,
  cell = 3
): number[] {
  const seen = new Set<number>();
  const kept: number[] = [];
  for (let i = 0; i < xs.length; i++) {
    const y = ys[i];
    if (y === null || y === undefined || !Number.isFinite(y)) {
      continue;
    }
    const key = Math.round(across(xs[i]) / cell) * 65536 + Math.round(up(y) / cell);
    if (!seen.has(key)) {
      seen.add(key);
      kept.push(i);
    }
  }
  return kept;
}

/** At most `count` of the items, evenly spread, the first and the last among them. */
export function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) {
    return [...items];
  }
  return Array.from({ length: count }, (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))]);
}

/** A tick's text with as many decimals as the ticks need to differ. */
export function tickLabel(level: number, levels: readonly number[]): string {
  const size = Math.abs(level);
  if (size >= 1e5 || (size > 0 && size < 1e-4)) {
    return level.toExponential(1).replace('.0e', 'e').replace('e+', 'e').replace('-', '−');
  }
  let step = Infinity;
  for (let i = 1; i < levels.length; i++) {
    step = Math.min(step, levels[i] - levels[i - 1]);
  }
  let decimals = 0;
  while (decimals < 6 && Number.isFinite(step) && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) {
    decimals++;
  }
  return level.toFixed(decimals).replace('-', '−');
}

/** The quantile of sorted values, by linear interpolation. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(sorted.length - 1, low + 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}
