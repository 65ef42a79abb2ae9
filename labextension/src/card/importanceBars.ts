/**
 * What each hyper-parameter explains, as bars with their 95 % intervals. What noise would explain as
 * well is said in words and drawn hollow.
 */

import type { Context } from './context';
import { h, setHidden } from './dom';
import { Figure, type TableData } from './figure';
import type { Importance, Trans } from './source';
import { Story } from './story';
import { clean, finite, share } from './words';

const ROW = 24;
const MOST = 12;

/** What can be drawn of the importance that a snapshot holds, greatest first. */
export function importanceOf(given: unknown): Importance[] {
  const found: Importance[] = [];
  for (const entry of Array.isArray(given) ? (given as (Partial<Importance> | null)[]) : []) {
    const [value, low, high] = [finite(entry?.value), finite(entry?.low), finite(entry?.high)];
    if (typeof entry?.parameter === 'string' && value !== null && low !== null && high !== null) {
      found.push({ parameter: clean(entry.parameter, 40), value, low, high, matters: entry.matters === true });
    }
  }
  return found.sort((a, b) => b.value - a.value);
}

/** An interval as a person reads it: "40 % to 78 %". */
export function intervalWords(entry: Importance, trans: Trans): string {
  return trans.__('%1 to %2', share(entry.low), share(entry.high));
}

/** Whether it counts: more than noise, or no more than noise. */
export function noiseWords(entry: Importance, trans: Trans): string {
  return entry.matters ? trans.__('more than noise') : trans.__('no more than noise');
}

/** One bar in words: "learning_rate 62 % (40 % to 78 %), more than noise". */
export function importanceWords(entry: Importance, trans: Trans): string {
  return `${entry.parameter} ${share(entry.value)} (${intervalWords(entry, trans)}), ${noiseWords(entry, trans)}`;
}

/** Since when the figures stand, where many trials have ended since; else "". */
export function afterWords(after: unknown, trans: Trans): string {
  const given = finite(after);
  return given === null ? '' : trans._n('computed after %1 trial', 'computed after %1 trials', given);
}

export class ImportanceBars {
  readonly root: HTMLElement;
  private readonly figure: Figure;
  private readonly list = h('div', { class: 'autoglm-Bars', 'aria-hidden': 'true' });
  private readonly since = h('span', { class: 'autoglm-Quiet' });
  private shown: Importance[] = [];
  private key = '';

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    const title = trans.__('Importance: share of the differences in value that each explains');
    this.figure = new Figure(ctx, {
      title,
      height: ROW,
      table: () => this.table(),
      count: () => this.shown.length,
      describe: i => (this.shown[i] ? importanceWords(this.shown[i], trans) : ''),
      mark: i => this.mark(i)
    });
    this.figure.stage.append(this.list);
    this.figure.setExtra(
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign', 'aria-hidden': 'true' }, '━'), ` ${trans.__('95 % interval')}`),
      this.since
    );
    this.root = h('div', { class: 'autoglm-Titled' }, h('div', { class: 'autoglm-Title' }, title), this.figure.root);
    this.root.hidden = true;
  }

  update(story: Story): void {
    const { importance, importance_after } = story.head;
    const key = JSON.stringify([importance, importance_after]);
    if (key === this.key) {
      return;
    }
    this.key = key;
    const { trans } = this.ctx;
    this.shown = importanceOf(importance).slice(0, MOST);
    setHidden(this.root, !this.shown.length);
    const most = Math.max(...this.shown.map(entry => entry.high), 1e-9);
    this.list.replaceChildren(...this.shown.map(entry => bar(entry, most, trans)));
    this.figure.setHeight(Math.max(1, this.shown.length) * ROW);
    const since = afterWords(importance_after, trans);
    this.since.textContent = since;
    this.figure.setSummary([...this.shown.map(entry => importanceWords(entry, trans)), since].filter(Boolean).join('; '));
    this.figure.refresh();
  }

  private mark(index: number | null): void {
    [...this.list.children].forEach((row, i) => row.classList.toggle('autoglm-is-marked', i === index));
  }

  private table(): TableData {
    const { trans } = this.ctx;
    const since = afterWords(this.ctx.source.head().importance_after, trans);
    const caption = trans.__('Importance: share of the differences in value that each explains');
    return {
      caption: since ? `${caption} (${since})` : caption,
      heads: [trans.__('Name'), trans.__('Importance'), trans.__('95 % interval'), trans.__('Against noise')],
      rows: this.shown.map(e => [e.parameter, share(e.value), intervalWords(e, trans), noiseWords(e, trans)])
    };
  }
}

function bar(entry: Importance, most: number, trans: Trans): HTMLElement {
  const at = (value: number): number => Math.max(0, Math.min(1, value / most)) * 100;
  const fill = h('div', { class: entry.matters ? 'autoglm-Bar-fill' : 'autoglm-Bar-fill autoglm-is-noise' });
  fill.style.width = `${at(entry.value)}%`;
  const whisker = h('div', { class: 'autoglm-Bar-whisker' });
  whisker.style.left = `${at(entry.low)}%`;
  whisker.style.width = `${Math.max(0, at(entry.high) - at(entry.low))}%`;
  const words = entry.matters ? share(entry.value) : `${share(entry.value)} · ${noiseWords(entry, trans)}`;
  return h(
    'div',
    { class: 'autoglm-Bars-row' },
    h('span', { class: 'autoglm-Bars-name', title: entry.parameter }, entry.parameter),
    h('div', { class: 'autoglm-Bar-track' }, fill, whisker),
    h('span', { class: 'autoglm-Numeric' }, words)
  );
}
