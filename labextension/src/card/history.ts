/** The chart of a study: every trial, the best so far, the level of the default settings. */

import type uPlot from 'uplot';

import type { Context } from './context';
import { h } from './dom';
import { Figure, type TableData } from './figure';
import { MarkLayer } from './marks';
import { axis, drawMarks, Plot, stepped } from './plot';
import { lowerBound } from './pointSet';
import { bestSoFar, span, spread, thin, tickLabel, ticks } from './scale';
import type { Points } from './source';
import { Story } from './story';
import type { Palette } from './theme';
import { finite, score, trialStateName } from './words';

const HEIGHT = 208;
const STATE: Record<string, string> = { c: 'completed', p: 'pruned', f: 'failed', r: 'running', w: 'waiting' };
/** With more trials than this the chart is drawn again once a second at most. */
const MANY = 500;
const REST = 1000;

export class History {
  readonly figure: Figure;
  private readonly plot: Plot;
  private points: Points = { numbers: [], values: [], states: '' };
  private best: [number, number][] = [];
  private baseline: number | null = null;
  private range: [number, number] = [0, 1];
  private marked: number | null = null;
  private legendKey = '';
  private story: Story;
  private readonly nothing: HTMLElement;
  private readonly marks = new MarkLayer();
  private drawnAt = 0;
  private timer = 0;

  constructor(
    private readonly ctx: Context,
    story: Story
  ) {
    this.story = story;
    this.figure = new Figure(ctx, {
      title: ctx.trans.__('History of the trials'),
      height: HEIGHT,
      table: () => this.table(),
      count: () => this.points.numbers.length,
      describe: i => this.describe(i),
      mark: i => {
        this.marked = i;
        this.plot.redraw();
      }
    });
    this.nothing = h('div', { class: 'autoglm-Figure-nothing' }, ctx.trans.__('No trial has a value yet.'));
    this.figure.stage.append(this.nothing);
    this.plot = new Plot(this.figure.stage, {
      height: HEIGHT,
      data: () => this.data(),
      options: colours => this.options(colours)
    });
  }

  /** Draw these points. */
  update(story: Story, points: Points): void {
    this.story = story;
    this.points = points;
    this.baseline = finite(story.head.headline?.baseline_value);
    this.measure();
    this.marks.clear();
    this.schedule();
  }

  /** Draw again after the points at these places changed. */
  merge(story: Story, places: readonly number[]): void {
    this.story = story;
    const [low, high] = this.range;
    const fits = places.every(i => {
      const value = this.points.values[i];
      return value === null || (value >= low && value <= high);
    });
    if (fits && this.points.numbers.length > MANY) {
      this.best = this.steps();
      places.forEach(i => this.marks.touch(i));
    } else {
      this.measure();
      this.marks.clear();
    }
    this.schedule();
  }

  private steps(): [number, number][] {
    const known = bestSoFar(this.points, this.story.maximize);
    const curve = (this.story.head.curve ?? []).filter(p => finite(p[1]) !== null) as [number, number][];
    return known.length ? known : curve;
  }

  private measure(): void {
    this.best = this.steps();
    const values = this.points.values.filter((v): v is number => v !== null);
    const always = [this.best[this.best.length - 1]?.[1], this.baseline].filter((v): v is number => finite(v) !== null);
    this.range = span(values, always, this.story.maximize);
    this.nothing.hidden = values.length > 0 || this.baseline !== null;
  }

  /** Small studies are drawn at once, large ones at rest. */
  private schedule(): void {
    const wait = this.points.numbers.length > MANY ? this.drawnAt + REST - performance.now() : 0;
    if (wait <= 0) {
      this.draw();
    } else if (!this.timer) {
      this.timer = window.setTimeout(() => this.draw(), wait);
    }
  }

  private draw(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.drawnAt = performance.now();
    this.legend();
    this.figure.setSummary(this.summary());
    this.plot.draw();
    this.figure.refresh();
  }

  /** Only the level of the default settings or the words changed. */
  retitle(story: Story): void {
    if (finite(story.head.headline?.baseline_value) !== this.baseline) {
      this.update(story, this.points);
    }
    this.story = story;
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.plot.dispose();
  }

  private get last(): number {
    return Math.max(1, ...this.points.numbers.slice(-1), ...this.best.slice(-1).map(b => b[0]));
  }

  /** The right end of the axis; a long study's stays for a while, so that its marks need not move. */
  private get end(): number {
    const step = this.last > MANY ? 10 ** Math.floor(Math.log10(this.last)) / 20 : 1;
    return Math.ceil(this.last / step) * step;
  }

  private data(): uPlot.AlignedData {
    const xs = [...new Set([0, ...this.best.map(b => b[0]), this.last])].sort((a, b) => a - b);
    const level = new Map(this.best);
    let current: number | null = null;
    const steps = xs.map(x => (current = level.get(x) ?? current));
    return [xs, steps, xs.map(() => this.baseline)];
  }

  private options(colours: Palette): Omit<uPlot.Options, 'width' | 'height'> {
    const trans = this.ctx.trans;
    return {
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
      scales: {
        x: { time: false, range: () => [-0.02 * this.end - 0.3, this.end * 1.02 + 0.3] },
        y: { range: () => this.range }
      },
      axes: [
        axis(colours, {
          size: 34,
          label: trans.__('trial'),
          labelSize: 14,
          labelGap: -2,
          grid: { show: false },
          splits: (u, i, min, max) => ticks(Math.max(0, min), max, Math.min(8, Math.max(2, u.width / 90))).filter(Number.isInteger),
          values: (u, splits) => splits.map(s => String(s))
        }),
        axis(colours, {
          size: 58,
          splits: (u, i, min, max) => ticks(min, max, 4),
          values: (u, splits) => splits.map(s => tickLabel(s, splits))
        })
      ],
      series: [
        {},
        { stroke: colours.best, width: 2.5, paths: stepped, points: { show: false } },
        { stroke: colours.baseline, width: 1.5, dash: [7, 5], points: { show: false } }
      ],
      hooks: {
        draw: [u => this.drawPoints(u)],
        setCursor: [u => this.hover(u)]
      }
    };
  }

  private place(u: uPlot, i: number): [number, number] {
    const value = this.points.values[i];
    const x = u.valToPos(this.points.numbers[i], 'x', true);
    const [low, high] = this.range;
    // What lies outside is drawn at the edge; a trial without a value at the bottom.
    const y = u.valToPos(value === null ? low : Math.min(high, Math.max(low, value)), 'y', true);
    return [x, value === null ? y - 6 * devicePixelRatio : y];
  }

  private drawPoints(u: uPlot): void {
    const { numbers, values, states } = this.points;
    const ratio = devicePixelRatio;
    const [low, high] = this.range;
    const many = numbers.length > MANY;
    const size = (many ? 2.2 : 3.6) * ratio;
    this.marks.draw(u.ctx, {
      key: JSON.stringify([u.width, this.range, this.end, many, this.plot.colours]),
      states,
      size,
      width: (many ? 1.2 : 1.7) * ratio,
      colours: this.plot.colours,
      place: i => this.place(u, i),
      all: () =>
        thin(
          numbers,
          values.map((v, i) => (v === null ? ('fp'.includes(states[i]) ? low : null) : Math.min(high, Math.max(low, v)))),
          x => u.valToPos(x, 'x'),
          y => u.valToPos(y, 'y'),
          many ? 3 : 1
        )
    });
    if (this.marked !== null && this.marked < numbers.length) {
      const path = new Path2D();
      const [x, y] = this.place(u, this.marked);
      path.arc(x, y, size + 4 * ratio, 0, 2 * Math.PI);
      drawMarks(u.ctx, path, 'ring', this.plot.colours.text, 2 * ratio);
    }
  }

  private hover(u: uPlot): void {
    const left = u.cursor.left ?? -1;
    const top = u.cursor.top ?? -1;
    if (left < 0) {
      this.figure.setLine('');
      return;
    }
    const at = u.posToVal(left, 'x');
    const { numbers, values } = this.points;
    let found = -1;
    let nearest = 14 * 14;
    const reach = u.posToVal(left + 14, 'x') - at;
    for (let i = lowerBound(numbers, at - reach); i < numbers.length && numbers[i] <= at + reach; i++) {
      const value = values[i];
      const y = u.valToPos(value === null ? this.range[0] : Math.min(this.range[1], Math.max(this.range[0], value)), 'y');
      const far = (u.valToPos(numbers[i], 'x') - left) ** 2 + (y - top) ** 2;
      if (far < nearest) {
        nearest = far;
        found = i;
      }
    }
    this.figure.setLine(found < 0 ? '' : this.describe(found));
  }

  private describe(i: number): string {
    const trans = this.ctx.trans;
    const { numbers, values, states } = this.points;
    const state = trialStateName(STATE[states[i]] ?? '', trans);
    return trans.__('Trial %1: %2, %3', numbers[i], state, score(values[i]));
  }

  private summary(): string {
    const trans = this.ctx.trans;
    if (!this.best.length) {
      return trans.__('No trial has a value yet.');
    }
    const [first, last] = [this.best[0], this.best[this.best.length - 1]];
    const base = this.baseline === null ? '' : ` ${trans.__('Default settings: %1.', score(this.baseline))}`;
    return (
      trans.__(
        'Best so far goes from %1 (trial %2) to %3 (trial %4).',
        score(first[1]),
        first[0],
        score(last[1]),
        last[0]
      ) + base
    );
  }

  private legend(): void {
    const trans = this.ctx.trans;
    const present = new Set(this.points.states);
    const key = `${[...present].sort().join('')}${this.best.length > 0}${this.baseline !== null}`;
    if (key === this.legendKey) {
      return;
    }
    this.legendKey = key;
    const entry = (kind: string, sign: string, text: string): HTMLElement =>
      h('span', { class: 'autoglm-Legend' }, h('span', { class: `autoglm-sign autoglm-is-${kind}`, 'aria-hidden': 'true' }, sign), ` ${text}`);
    const entries: HTMLElement[] = [];
    if (present.has('c')) {
      entries.push(entry('completed', '●', trans.__('completed')));
    }
    if (present.has('p')) {
      entries.push(entry('pruned', '○', trans.__('pruned')));
    }
    if (present.has('f')) {
      entries.push(entry('failed', '×', trans.__('failed')));
    }
    if (this.best.length) {
      entries.push(entry('best', '━', trans.__('best so far')));
    }
    if (this.baseline !== null) {
      entries.push(entry('baseline', '╍', trans.__('default settings')));
    }
    this.figure.setExtra(...entries);
  }

  private table(): TableData {
    const trans = this.ctx.trans;
    const { numbers, values, states } = this.points;
    const shown = spread([...numbers.keys()], 500);
    return {
      caption:
        shown.length < numbers.length
          ? trans.__('%1 of %2 trials, evenly spread. The tab Trials has all of them.', shown.length, numbers.length)
          : trans.__('All trials by number'),
      heads: [trans.__('Trial'), trans.__('State'), this.story.metric],
      rows: shown.map(i => [`#${numbers[i]}`, trialStateName(STATE[states[i]] ?? '', trans), score(values[i])])
    };
  }
}
