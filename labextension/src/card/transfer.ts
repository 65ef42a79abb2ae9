/**
 * What was gained by training on one domain for another: a matrix of sources and targets, and the
 * methods side by side with their intervals. A loss (negative transfer) is marked by shape and word.
 *
 * The record is `application/vnd.autoglm.transfer.v1+json`. Nothing in this version measures transfer,
 * so whatever a record says of itself, its figures are an example, and that stands across the card.
 */

import { h, table } from './dom';
import type { Trans } from './source';
import { clean, finite, gain, metricName, number, score, stateWords } from './words';

/** A mean difference to training on the target alone, with its 95 % interval. */
export interface Effect {
  mean: number;
  low: number | null;
  high: number | null;
}

export interface TransferRecord {
  version: number;
  name: string;
  state: string;
  model: string;
  metric: string;
  /** How a number is written: as it is, or a share in per cent. */
  unit?: 'value' | 'percent';
  seeds: number[];
  sources: string[];
  targets: string[];
  /** One row a source, one cell a target; null for the same domain or not measured. */
  gains: (Effect | null)[][];
  methods: { name: string; effect: Effect }[];
  best: { source: string; target: string; method: string; value: number; effect: Effect } | null;
}

export type Verdict = 'gain' | 'negative' | 'unclear' | 'same';

/** What an interval carries: a gain or a loss only if it keeps clear of zero. */
export function verdict(effect: Effect | null): Verdict {
  if (!effect || finite(effect.mean) === null) {
    return 'same';
  }
  const [low, high] = [finite(effect.low), finite(effect.high)];
  if (low === null || high === null) {
    return 'unclear';
  }
  return low > 0 ? 'gain' : high < 0 ? 'negative' : 'unclear';
}

const MARKS: Record<Verdict, string> = { gain: ' ▲', negative: ' ▼', unclear: '', same: '' };

/** Places of a bar and its interval on an axis that spans all of them, 0 to 1. */
export function bars(effects: readonly Effect[]): { zero: number; at: { from: number; to: number; low: number; high: number }[] } {
  const ends = effects.flatMap(e => [e.mean, e.low ?? e.mean, e.high ?? e.mean]).filter(Number.isFinite);
  const least = Math.min(0, ...ends);
  const most = Math.max(0, ...ends);
  const place = (v: number): number => (most > least ? (v - least) / (most - least) : 0);
  return {
    zero: place(0),
    at: effects.map(e => ({
      from: place(Math.min(0, e.mean)),
      to: place(Math.max(0, e.mean)),
      low: place(e.low ?? e.mean),
      high: place(e.high ?? e.mean)
    }))
  };
}

export class TransferCard {
  readonly root: HTMLElement;

  constructor(
    host: HTMLElement,
    private readonly record: TransferRecord,
    private readonly trans: Trans
  ) {
    this.root = h(
      'section',
      { class: 'autoglm-Card autoglm-Transfer', 'data-testid': 'autoglm-transfer', 'aria-label': trans.__('Transfer study %1', clean(record.name, 80)) },
      h(
        'header',
        { class: 'autoglm-Top' },
        h('span', { class: 'autoglm-Titles' }, h('strong', { class: 'autoglm-Name' }, clean(record.name, 80)), h('span', { class: 'autoglm-Line autoglm-Quiet autoglm-Subject' }, ` · ${clean(record.model, 60)}`)),
        h('strong', { class: 'autoglm-Example', 'data-testid': 'autoglm-example' }, trans.__('example data')),
        h('span', { class: 'autoglm-State', 'data-state': record.state }, stateWords(clean(record.state, 20), trans))
      ),
      h('p', { class: 'autoglm-Headline', 'data-testid': 'autoglm-headline' }, ...this.headline()),
      h('div', { class: 'autoglm-Transfer-body' }, this.matrix(), this.methods()),
      h('p', { class: 'autoglm-Quiet' }, this.legend()),
      h('div', { class: 'autoglm-Watermark', 'data-testid': 'autoglm-watermark', 'aria-hidden': 'true' }, trans.__('example data'))
    );
    host.append(this.root);
  }

  dispose(): void {
    this.root.remove();
  }

  private value(value: number | null | undefined): string {
    const given = finite(value);
    return this.record.unit === 'percent' && given !== null
      ? `${given < 0 ? '−' : '+'}${Math.abs(100 * given).toFixed(1)}`
      : gain(value);
  }

  private headline(): (Node | string)[] {
    const { trans, record } = this;
    const best = record.best;
    if (!best) {
      return [h('strong', {}, trans.__('No result yet'))];
    }
    const interval = finite(best.effect.low) === null ? '' : trans.__(', 95 % %1 to %2', this.value(best.effect.low), this.value(best.effect.high));
    return [
      h('strong', {}, trans.__('%1 → %2, %3: %4 %5', clean(best.source, 40), clean(best.target, 40), clean(best.method, 60), score(best.value), metricName(record.metric, trans))),
      ` ${trans.__('(%1 over no transfer%2)', this.value(best.effect.mean), interval)}`
    ];
  }

  private matrix(): HTMLElement {
    const { trans, record } = this;
    const made = table(
      trans.__('Gain over training on the target alone, from each row to each column'),
      [trans.__('From'), ...record.targets.map(t => clean(t, 30))],
      []
    );
    const body = made.tBodies[0];
    record.sources.forEach((source, i) => {
      const cells = record.targets.map((target, j) => {
        const effect = record.gains[i]?.[j] ?? null;
        const found = verdict(effect);
        if (!effect) {
          const same = source === target;
          return h('td', { class: 'autoglm-Numeric autoglm-Quiet', title: same ? trans.__('the same domain') : trans.__('not measured') }, same ? '·' : '–');
        }
        const words = `${this.value(effect.low)} … ${this.value(effect.high)}`;
        return h(
          'td',
          { class: `autoglm-Numeric autoglm-is-${found === 'unclear' ? 'unclear' : found}`, title: words, 'data-verdict': found },
          this.value(effect.mean),
          MARKS[found] ? h('span', { 'aria-hidden': 'true' }, MARKS[found]) : null,
          MARKS[found] ? h('span', { class: 'autoglm-Hidden' }, found === 'gain' ? trans.__(', significant gain') : trans.__(', negative transfer')) : null
        );
      });
      body.append(h('tr', {}, h('th', { scope: 'row' }, clean(source, 30)), ...cells));
    });
    return made;
  }

  private methods(): HTMLElement {
    const { trans, record } = this;
    const places = bars(record.methods.map(m => m.effect));
    const made = table(trans.__('Methods, mean over all pairs with 95 % interval'), [trans.__('Method'), '', trans.__('Gain')], []);
    record.methods.forEach((method, i) => {
      const at = places.at[i];
      const found = verdict(method.effect);
      const fill = h('div', { class: `autoglm-Bar-fill autoglm-Bar-from autoglm-Bar-${found}` });
      fill.style.left = `${100 * at.from}%`;
      fill.style.width = `${100 * (at.to - at.from)}%`;
      const whisker = h('div', { class: 'autoglm-Bar-whisker' });
      whisker.style.left = `${100 * at.low}%`;
      whisker.style.width = `${100 * (at.high - at.low)}%`;
      const zero = h('div', { class: 'autoglm-Bar-zero' });
      zero.style.left = `${100 * places.zero}%`;
      made.tBodies[0].append(
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, clean(method.name, 40)),
          h('td', { class: 'autoglm-Bar-cell' }, h('div', { class: 'autoglm-Bar-track', 'aria-hidden': 'true' }, fill, zero, whisker)),
          h(
            'td',
            { class: `autoglm-Numeric autoglm-is-${found}`, 'data-verdict': found },
            `${this.value(method.effect.mean)} (${this.value(method.effect.low)} … ${this.value(method.effect.high)})${MARKS[found]}`
          )
        )
      );
    });
    return made;
  }

  private legend(): string {
    const { trans, record } = this;
    const seeds = trans._n('%1 seed', '%1 seeds', record.seeds.length);
    const unit = record.unit === 'percent' ? trans.__('percentage points') : metricName(record.metric, trans);
    return `▲ ${trans.__('significant gain')}   ▼ ${trans.__('negative transfer')}   · ${trans.__('the same domain')}   (${unit}, ${seeds}: ${record.seeds.map(s => number(s)).join(', ')}, ${trans.__('paired')})`;
  }
}
