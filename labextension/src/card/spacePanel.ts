/**
 * Where the search looked: a strip for each hyper-parameter with every trial at its place in time,
 * the range it may lie in and, shaded, the middle four fifths of what was proposed lately.
 *
 * When a snapshot tells of changed ranges (`space.history`: at which trial, why), these are drawn
 * as steps and listed with their reasons.
 */

import type { Context, Panel } from './context';
import { empty, h, setHidden, table } from './dom';
import { Figure, type TableData } from './figure';
import { asColumn, columnValue } from './parameters';
import { quantile, thin } from './scale';
import type { Points } from './source';
import { conditionWords, parameters, position, rangeWords, valueAt, type Parameter } from './space';
import { Story } from './story';
import { onThemeChange, palette } from './theme';
import { clean, number } from './words';

const STRIP = 74;
const LEFT = 66;
const RIGHT = 10;

export interface Change {
  trial: number;
  name: string;
  low: number | null;
  high: number | null;
  because: string;
}

/** Changes of ranges that a space tells of; anything that does not read as one is left out. */
export function changes(space: Record<string, unknown> | null | undefined): Change[] {
  const given = space?.history;
  if (!Array.isArray(given)) {
    return [];
  }
  return given
    .filter(c => typeof c === 'object' && c !== null && typeof c.name === 'string' && Number.isFinite(c.trial))
    .map(c => ({
      trial: Number(c.trial),
      name: String(c.name),
      low: Number.isFinite(c.low) ? Number(c.low) : null,
      high: Number.isFinite(c.high) ? Number(c.high) : null,
      because: clean(c.because ?? '', 300)
    }))
    .sort((a, b) => a.trial - b.trial);
}

/** Quantiles of positions in a sliding window: `[x, low, high]` at each step. */
export function envelope(xs: readonly number[], at: readonly (number | null)[], steps = 40): [number, number, number][] {
  const known = xs.map((x, i) => [x, at[i]] as const).filter((p): p is readonly [number, number] => p[1] !== null);
  if (known.length < 8) {
    return [];
  }
  const window = Math.max(8, Math.ceil(known.length / 8));
  const found: [number, number, number][] = [];
  const stride = Math.max(1, Math.floor((known.length - window) / steps));
  for (let end = window; end <= known.length; end += stride) {
    const part = known.slice(end - window, end);
    const values = part.map(p => p[1]).sort((a, b) => a - b);
    found.push([part[part.length - 1][0], quantile(values, 0.1), quantile(values, 0.9)]);
  }
  return found;
}

export class SpacePanel implements Panel {
  readonly root: HTMLElement;
  private readonly nothing: HTMLElement;
  private readonly figure: Figure;
  private readonly canvas = h('canvas', { 'aria-hidden': 'true' });
  private readonly facts = h('div', { class: 'autoglm-Facts' });
  private points: Points | null = null;
  private asked = -1;
  private askedAt = 0;
  private key = '';
  private story: Story;
  private readonly observer: ResizeObserver;
  private readonly stop: () => void;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.story = new Story(ctx.source.head(), trans);
    const height = Math.max(1, this.story.parameters.length) * STRIP + 18;
    this.figure = new Figure(ctx, {
      title: trans.__('Where the search looked, trial by trial'),
      height,
      table: () => this.table()
    });
    this.figure.stage.append(this.canvas);
    this.figure.setExtra(
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-completed', 'aria-hidden': 'true' }, '●'), ` ${trans.__('proposed')}`),
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-best', 'aria-hidden': 'true' }, '★'), ` ${trans.__('best')}`),
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-band', 'aria-hidden': 'true' }, '▒'), ` ${trans.__('middle four fifths of late proposals')}`)
    );
    this.nothing = empty(trans.__('No trial has been proposed yet.'));
    this.root = h('div', { class: 'autoglm-Panel autoglm-Scroll' }, this.facts, this.nothing, this.figure.root);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.figure.stage);
    this.stop = onThemeChange(() => this.draw());
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    this.drawFacts();
    const total = head.trials_total ?? 0;
    const due = Date.now() - this.askedAt > (total > 1000 ? 10_000 : 2_000);
    if (total !== this.asked && due) {
      this.asked = total;
      this.askedAt = Date.now();
      void this.ctx.source
        .points({ parameters: true })
        .then(points => {
          this.points = points;
          this.draw();
          this.figure.refresh();
        })
        .catch(() => (this.asked = -1));
    }
    setHidden(this.nothing, total > 0);
    setHidden(this.figure.root, total === 0 || !this.story.parameters.length);
  }

  dispose(): void {
    this.observer.disconnect();
    this.stop();
  }

  private drawFacts(): void {
    const { trans } = this.ctx;
    const head = this.ctx.source.head();
    const key = JSON.stringify(head.space);
    if (key === this.key) {
      return;
    }
    this.key = key;
    const rows = parameters(head.space).map(p => [clean(p.name, 40), rangeWords(p, trans), conditionWords(p.condition)]);
    const told = changes(head.space);
    const parts = [table(trans.__('What is searched'), [trans.__('Name'), trans.__('Values'), trans.__('Only if')], rows)];
    if (told.length) {
      parts.push(
        table(
          trans.__('How the ranges changed'),
          [trans.__('From trial'), trans.__('Name'), trans.__('Range'), trans.__('Reason')],
          told.map(c => [String(c.trial), clean(c.name, 40), trans.__('%1 to %2', number(c.low), number(c.high)), c.because])
        )
      );
    }
    this.facts.replaceChildren(...parts);
  }

  private draw(): void {
    const width = this.figure.stage.clientWidth;
    const ctx = this.canvas.getContext('2d');
    const points = this.points;
    if (!width || !ctx || !points) {
      return;
    }
    const list = this.story.parameters.map(asColumn);
    const height = Math.max(1, list.length) * STRIP + 18;
    const ratio = devicePixelRatio;
    this.figure.stage.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    const last = Math.max(1, points.numbers[points.numbers.length - 1] ?? 1);
    const x = (n: number): number => LEFT + (n / last) * (width - LEFT - RIGHT - 8) + 4;
    list.forEach((p, i) => this.strip(ctx, p, i * STRIP, width, x, points));
    const colours = palette(this.root);
    ctx.font = colours.font;
    ctx.fillStyle = colours.quiet;
    ctx.textAlign = 'left';
    ctx.fillText('0', LEFT + 4, height - 4);
    ctx.textAlign = 'right';
    ctx.fillText(`${this.ctx.trans.__('trial')} ${last}`, width - RIGHT, height - 4);
    this.figure.setSummary(this.story.parameters.map(p => `${p.name} ${rangeWords(p, this.ctx.trans)}`).join('; '));
  }

  private strip(
    ctx: CanvasRenderingContext2D,
    p: Parameter,
    top: number,
    width: number,
    x: (n: number) => number,
    points: Points
  ): void {
    const colours = palette(this.root);
    const [high, low] = [top + 20, top + STRIP - 6];
    const y = (at: number): number => low - at * (low - high);
    ctx.font = colours.font;
    ctx.fillStyle = colours.text;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'alphabetic';
    ctx.fillText(clean(p.name, 40), LEFT, top + 12);
    ctx.fillStyle = colours.quiet;
    ctx.textAlign = 'right';
    ctx.fillText(number(valueAt(p, 1)), LEFT - 6, high + 5);
    ctx.fillText(number(valueAt(p, 0)), LEFT - 6, low + 3);
    ctx.strokeStyle = colours.grid;
    ctx.lineWidth = 1;
    ctx.strokeRect(LEFT + 0.5, high - 4.5, width - LEFT - RIGHT, low - high + 9);
    const at = points.numbers.map((_, i) => position(p, columnValue(points, p.name, i)));
    if (!p.choices) {
      const band = envelope(points.numbers, at);
      ctx.fillStyle = colours.completed;
      ctx.globalAlpha = 0.14;
      ctx.beginPath();
      band.forEach(([n, , h_]) => ctx.lineTo(x(n), y(h_)));
      [...band].reverse().forEach(([n, l]) => ctx.lineTo(x(n), y(l)));
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    this.steps(ctx, p, y, x, colours.baseline);
    const best = this.story.head.headline?.best_trial;
    ctx.fillStyle = colours.completed;
    const size = points.numbers.length > 400 ? 1.2 : 2.2;
    for (const i of thin(points.numbers, at, x, y, 2)) {
      ctx.beginPath();
      ctx.arc(x(points.numbers[i]), y(at[i] as number), size, 0, 2 * Math.PI);
      ctx.fill();
    }
    const k = points.numbers.indexOf(best ?? -1);
    if (k >= 0 && at[k] !== null) {
      ctx.fillStyle = colours.best;
      ctx.font = `16px ${colours.font.slice(5)}`;
      ctx.textAlign = 'center';
      ctx.textBaseline = 'middle';
      ctx.fillText('★', x(points.numbers[k]), y(at[k] as number));
    }
  }

  private steps(
    ctx: CanvasRenderingContext2D,
    p: Parameter,
    y: (at: number) => number,
    x: (n: number) => number,
    colour: string
  ): void {
    const told = changes(this.story.head.space).filter(c => c.name === p.name);
    for (const end of ['low', 'high'] as const) {
      let before = y(end === 'low' ? 0 : 1);
      let from = x(0);
      ctx.strokeStyle = colour;
      ctx.lineWidth = 1.5;
      for (const change of told) {
        const at = position(p, change[end]);
        if (at === null) {
          continue;
        }
        ctx.beginPath();
        ctx.moveTo(from, before);
        ctx.lineTo(x(change.trial), before);
        ctx.lineTo(x(change.trial), y(at));
        ctx.stroke();
        before = y(at);
        from = x(change.trial);
      }
    }
  }

  private table(): TableData {
    const { trans } = this.ctx;
    const points = this.points;
    const list = this.story.parameters.map(asColumn);
    return {
      caption: trans.__('What was proposed, newest first'),
      heads: [trans.__('Trial'), ...list.map(p => clean(p.name, 40))],
      rows: points
        ? points.numbers
            .map((n, i) => [`#${n}`, ...list.map(p => number(columnValue(points, p.name, i)))])
            .reverse()
        : []
    };
  }
}
