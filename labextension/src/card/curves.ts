/** What each trial reached at each of its evaluations: the best, the running and the newest ones. */

import type uPlot from 'uplot';

import type { Context, Panel } from './context';
import { empty, h, setHidden } from './dom';
import { Figure, type TableData } from './figure';
import { axis, Plot } from './plot';
import { span, tickLabel, ticks } from './scale';
import type { Trial } from './source';
import { Story, trialValue } from './story';
import { finite, score, TRIAL_MARKS, trialStateName } from './words';

const HEIGHT = 236;
const SHOWN = 40;
/** Lines differ by pattern and width too, not by colour alone. */
const SIGNS: Record<string, string> = { best: '━', completed: '╍', pruned: '┈', quiet: '─' };

export class CurvesPanel implements Panel {
  readonly root: HTMLElement;
  private readonly figure: Figure;
  private readonly plot: Plot;
  private readonly nothing: HTMLElement;
  private trials: Trial[] = [];
  private known = new Map<number, Trial>();
  private asked = -1;
  private key = '';
  private marked: number | null = null;
  private story: Story;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.story = new Story(ctx.source.head(), trans);
    this.figure = new Figure(ctx, {
      title: trans.__('Learning curves'),
      height: HEIGHT,
      table: () => this.table(),
      count: () => this.trials.length,
      describe: i => this.describe(i),
      mark: i => {
        this.marked = i;
        this.plot.redraw();
      }
    });
    this.plot = new Plot(this.figure.stage, {
      height: HEIGHT,
      data: () => this.data(),
      options: colours => ({
        padding: [10, 12, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
        scales: { x: { time: false, range: (u, min, max) => [min - 0.1, (max ?? 1) + 0.1] }, y: { range: () => this.range() } },
        axes: [
          axis(colours, {
            size: 36,
            label: trans.__('evaluation'),
            labelSize: 14,
            labelGap: -2,
            grid: { show: false },
            splits: (u, i, min, max) => ticks(min, max, 8).filter(Number.isInteger),
            values: (u, splits) => splits.map(s => String(s))
          }),
          axis(colours, {
            size: 58,
            splits: (u, i, min, max) => ticks(min, max, 4),
            values: (u, splits) => splits.map(s => tickLabel(s, splits))
          })
        ],
        // The curves are drawn by hand: their number changes, uPlot's series do not.
        series: [{}, { stroke: 'transparent', points: { show: false } }],
        hooks: { draw: [u => this.drawCurves(u)] }
      })
    });
    this.nothing = empty(trans.__('No trial has been evaluated yet.'));
    const sign = (kind: string, text: string): HTMLElement =>
      h('span', { class: 'autoglm-Legend' }, h('span', { class: `autoglm-sign autoglm-is-${kind}`, 'aria-hidden': 'true' }, SIGNS[kind] ?? '━'), ` ${text}`);
    this.figure.setExtra(
      sign('best', trans.__('best')),
      sign('completed', trans.__('running')),
      sign('pruned', trans.__('ended early')),
      sign('quiet', trans.__('others'))
    );
    this.root = h('div', { class: 'autoglm-Panel' }, this.nothing, this.figure.root);
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    (head.trials ?? []).forEach(t => this.known.set(t.number, t));
    const ended = head.headline?.finished ?? 0;
    if (ended !== this.asked) {
      const first = this.asked < 0;
      this.asked = ended;
      if (first || ended <= SHOWN) {
        void this.load();
      }
    }
    this.draw();
  }

  dispose(): void {
    this.plot.dispose();
  }

  private async load(): Promise<void> {
    try {
      const order = this.story.maximize ? 'desc' : 'asc';
      const best = await this.ctx.source.page({ offset: 0, limit: SHOWN / 2, sort: 'value', order });
      const newest = await this.ctx.source.page({ offset: 0, limit: SHOWN / 2, sort: 'number', order: 'desc' });
      [...best.trials, ...newest.trials].forEach(t => this.known.set(t.number, t));
      this.draw();
    } catch {
      // What the head holds is drawn; the next change asks again.
      this.asked = -1;
    }
  }

  private draw(): void {
    const withReports = [...this.known.values()].filter(t => (t.reports ?? []).length > 0);
    const rank = (t: Trial): number => {
      const value = trialValue(t);
      return t.state === 'running' ? -Infinity : value === null ? Infinity : this.story.maximize ? -value : value;
    };
    this.trials = withReports.sort((a, b) => rank(a) - rank(b)).slice(0, SHOWN);
    const key = JSON.stringify(this.trials.map(t => [t.number, t.state, t.reports.length]));
    setHidden(this.nothing, this.trials.length > 0);
    setHidden(this.figure.root, this.trials.length === 0);
    if (key !== this.key) {
      this.key = key;
      if (this.trials.length) {
        this.figure.setSummary(this.describe(0));
        this.plot.draw();
        this.figure.refresh();
      }
    }
  }

  private data(): uPlot.AlignedData {
    const rungs = this.trials.flatMap(t => t.reports.map(r => r[0]));
    const low = rungs.length ? Math.min(...rungs) : 0;
    const high = rungs.length ? Math.max(...rungs, low + 1) : 1;
    const middle = (this.range()[0] + this.range()[1]) / 2;
    return [
      [low, high],
      [middle, middle]
    ];
  }

  private range(): [number, number] {
    const values = this.trials.flatMap(t => t.reports.map(r => r[1])).filter(v => finite(v) !== null);
    return span(values, [], this.story.maximize);
  }

  private drawCurves(u: uPlot): void {
    const best = this.story.head.headline?.best_trial;
    const colours = this.plot.colours;
    const ratio = devicePixelRatio;
    const [low, high] = this.range();
    u.ctx.save();
    u.ctx.lineJoin = 'round';
    // The best and what runs come last, on top of the others.
    const weight = (t: Trial): number => (t.number === best ? 2 : t.state === 'running' ? 1 : 0);
    for (const trial of [...this.trials].sort((a, b) => weight(a) - weight(b))) {
      const marked = this.marked !== null && this.trials[this.marked] === trial;
      const path = new Path2D();
      trial.reports.forEach(([rung, value], i) => {
        const x = u.valToPos(rung, 'x', true);
        const y = u.valToPos(Math.min(high, Math.max(low, value)), 'y', true);
        if (i) {
          path.lineTo(x, y);
        } else {
          path.moveTo(x, y);
          path.arc(x, y, ratio, 0, 2 * Math.PI); // a single evaluation is a dot
          path.moveTo(x, y);
        }
      });
      const kind = trial.number === best ? 'best' : trial.state;
      u.ctx.strokeStyle =
        kind === 'best' ? colours.best : kind === 'running' ? colours.completed : kind === 'pruned' ? colours.pruned : colours.quiet;
      u.ctx.globalAlpha = marked || weight(trial) ? 1 : 0.5;
      u.ctx.lineWidth = (marked ? 4 : kind === 'best' ? 3 : kind === 'running' ? 2 : 1.3) * ratio;
      u.ctx.lineCap = 'round';
      u.ctx.setLineDash(kind === 'pruned' ? [2 * ratio, 4 * ratio] : kind === 'running' ? [9 * ratio, 5 * ratio] : []);
      u.ctx.stroke(path);
    }
    u.ctx.restore();
  }

  private describe(i: number): string {
    const { trans } = this.ctx;
    const trial = this.trials[i];
    if (!trial) {
      return '';
    }
    const values = trial.reports.map(r => score(r[1])).slice(-6).join(' → ');
    return trans.__('Trial %1, %2: %3', trial.number, trialStateName(trial.state, trans), values);
  }

  private table(): TableData {
    const { trans } = this.ctx;
    const rungs = [...new Set(this.trials.flatMap(t => t.reports.map(r => r[0])))].sort((a, b) => a - b).slice(0, 30);
    return {
      caption: trans.__('%1 at each evaluation', this.story.metric),
      heads: [trans.__('Trial'), trans.__('State'), ...rungs.map(r => String(r))],
      rows: this.trials.map(t => {
        const at = new Map(t.reports);
        return [
          `#${t.number}`,
          `${TRIAL_MARKS[t.state] ?? ''} ${trialStateName(t.state, trans)}`,
          ...rungs.map(r => score(at.get(r) ?? null))
        ];
      })
    };
  }
}
