/** Two objectives against each other, the trials that no other beats joined by a line. */

import type uPlot from 'uplot';

import type { Context, Panel } from './context';
import { h } from './dom';
import { Figure, type TableData } from './figure';
import { addMark, axis, drawMarks, Plot } from './plot';
import { span, tickLabel, ticks } from './scale';
import type { Points } from './source';
import { Story } from './story';
import { finite, score } from './words';

const HEIGHT = 232;

export class ParetoPanel implements Panel {
  readonly root: HTMLElement;
  private readonly figure: Figure;
  private readonly plot: Plot;
  private readonly bar = h('div', { class: 'autoglm-Bar' });
  private points: Points | null = null;
  private asked = '';
  private axes: [number, number] = [0, 1];
  private marked: number | null = null;
  private story: Story;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.story = new Story(ctx.source.head(), trans);
    this.figure = new Figure(ctx, {
      title: trans.__('Pareto front'),
      height: HEIGHT,
      table: () => this.table(),
      count: () => this.front.length,
      describe: i => this.describe(this.front[i]),
      mark: i => {
        this.marked = i === null ? null : this.front[i];
        this.plot.redraw();
      }
    });
    const name = (i: number): string => this.story.objectives[this.axes[i]] ?? '';
    this.plot = new Plot(this.figure.stage, {
      height: HEIGHT,
      data: () => [this.range(0), [this.range(1)[0], this.range(1)[1]]],
      options: colours => ({
        padding: [10, 14, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
        scales: { x: { time: false, range: () => this.range(0) }, y: { range: () => this.range(1) } },
        axes: [
          axis(colours, {
            size: 38,
            label: name(0),
            labelSize: 14,
            labelGap: -1,
            splits: (u, i, min, max) => ticks(min, max, 6),
            values: (u, splits) => splits.map(s => tickLabel(s, splits))
          }),
          axis(colours, {
            size: 74,
            label: name(1),
            labelSize: 16,
            splits: (u, i, min, max) => ticks(min, max, 5),
            values: (u, splits) => splits.map(s => tickLabel(s, splits))
          })
        ],
        series: [{}, { stroke: 'transparent', points: { show: false } }],
        hooks: { draw: [u => this.drawPoints(u)] }
      })
    });
    this.figure.setExtra(
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-best', 'aria-hidden': 'true' }, '★'), ` ${trans.__('on the front')}`),
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-quiet', 'aria-hidden': 'true' }, '●'), ` ${trans.__('beaten by another trial')}`)
    );
    if (this.story.objectives.length > 2) {
      this.bar.append(this.choice(0), this.choice(1));
    }
    this.root = h('div', { class: 'autoglm-Panel' }, this.bar, this.figure.root);
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    const key = `${head.headline?.finished}-${(head.front ?? []).join()}`;
    if (key !== this.asked) {
      this.asked = key;
      void this.ctx.source
        .points({ objectives: true })
        .then(points => {
          this.points = points;
          this.figure.setSummary(this.story.best);
          this.plot.draw();
          this.figure.refresh();
        })
        .catch(() => (this.asked = ''));
    }
  }

  dispose(): void {
    this.plot.dispose();
  }

  private choice(which: 0 | 1): HTMLElement {
    const { trans } = this.ctx;
    const label = which ? trans.__('Upwards') : trans.__('Across');
    const select = h(
      'select',
      {
        class: 'autoglm-Input',
        'aria-label': label,
        onchange: () => {
          this.axes[which] = Number(select.value);
          this.plot.draw();
        }
      },
      ...this.story.objectives.map((name, i) => {
        const option = h('option', { value: i }, name);
        option.selected = i === this.axes[which];
        return option;
      })
    );
    return select;
  }

  private column(which: number): (number | null)[] {
    return this.points?.objectives?.[this.axes[which]] ?? [];
  }

  private range(which: number): [number, number] {
    const values = this.column(which).filter((v): v is number => finite(v) !== null);
    const maximize = which === 0 ? this.story.maximize : false;
    return span(values, [], maximize);
  }

  /** Indices of the points on the front, from left to right. */
  private get front(): number[] {
    const on = new Set(this.story.head.front ?? []);
    const xs = this.column(0);
    return (this.points?.numbers ?? [])
      .map((n, i) => (on.has(n) ? i : -1))
      .filter(i => i >= 0)
      .sort((a, b) => (xs[a] ?? 0) - (xs[b] ?? 0));
  }

  private drawPoints(u: uPlot): void {
    const [xs, ys] = [this.column(0), this.column(1)];
    const [rx, ry] = [this.range(0), this.range(1)];
    const ratio = devicePixelRatio;
    const place = (i: number): [number, number] | null => {
      const [x, y] = [xs[i], ys[i]];
      if (x === null || y === null || x === undefined || y === undefined) {
        return null;
      }
      return [
        u.valToPos(Math.min(rx[1], Math.max(rx[0], x)), 'x', true),
        u.valToPos(Math.min(ry[1], Math.max(ry[0], y)), 'y', true)
      ];
    };
    const front = this.front;
    const on = new Set(front);
    const rest = new Path2D();
    xs.forEach((_, i) => {
      const at = on.has(i) || this.points?.states[i] !== 'c' ? null : place(i);
      if (at) {
        addMark(rest, 'disc', at[0], at[1], 2.6 * ratio);
      }
    });
    u.ctx.save();
    u.ctx.globalAlpha = 0.7;
    drawMarks(u.ctx, rest, 'disc', this.plot.colours.quiet, 1);
    u.ctx.restore();
    const line = new Path2D();
    const stars = new Path2D();
    front.forEach((i, order) => {
      const at = place(i);
      if (!at) {
        return;
      }
      if (order) {
        line.lineTo(at[0], at[1]);
      } else {
        line.moveTo(at[0], at[1]);
      }
      addMark(stars, 'star', at[0], at[1], 4.2 * ratio);
    });
    u.ctx.save();
    u.ctx.strokeStyle = this.plot.colours.best;
    u.ctx.lineWidth = 1.5 * ratio;
    u.ctx.setLineDash([4 * ratio, 4 * ratio]);
    u.ctx.stroke(line);
    u.ctx.restore();
    drawMarks(u.ctx, stars, 'star', this.plot.colours.best, 1);
    const at = this.marked === null ? null : place(this.marked);
    if (at) {
      const ring = new Path2D();
      addMark(ring, 'ring', at[0], at[1], 9 * ratio);
      drawMarks(u.ctx, ring, 'ring', this.plot.colours.text, 2 * ratio);
    }
  }

  private describe(i: number | undefined): string {
    if (i === undefined || !this.points) {
      return '';
    }
    const values = this.story.objectives.map((name, k) => `${name} ${score(this.points?.objectives?.[k]?.[i])}`);
    return this.ctx.trans.__('Trial %1: %2', this.points.numbers[i], values.join(', '));
  }

  private table(): TableData {
    const { trans } = this.ctx;
    return {
      caption: trans.__('Trials on the Pareto front'),
      heads: [trans.__('Trial'), ...this.story.objectives],
      rows: this.front.map(i => [
        `#${this.points?.numbers[i]}`,
        ...this.story.objectives.map((_, k) => score(this.points?.objectives?.[k]?.[i]))
      ])
    };
  }
}
