/** CPU, memory and GPU over time, and which trials train together. */

import type uPlot from 'uplot';

import type { Context, Panel } from './context';
import { empty, h, setHidden, table } from './dom';
import { Figure } from './figure';
import { runName, stepCosts } from './packs';
import { axis, Plot } from './plot';
import { tickLabel, ticks } from './scale';
import type { Packs, Reading } from './source';
import { clean, clock, finite, share } from './words';

const HEIGHT = 128;

function whole(value: unknown): string {
  const given = finite(value);
  return given === null ? '–' : given.toFixed(0);
}

function tenth(value: unknown): string {
  const given = finite(value);
  return given === null ? '–' : given.toFixed(1);
}

/** The last reading in a line: "CPU 91 % · 3.1 GB · GPU –". */
export function resourceLine(readings: readonly Reading[] | undefined): string {
  const last = readings?.[readings.length - 1];
  if (!last) {
    return 'CPU – · GPU –';
  }
  const gpu = finite(last.gpu_percent) === null ? '–' : `${whole(last.gpu_percent)} %`;
  return `CPU ${whole(last.machine_cpu_percent)} % · ${tenth(last.memory_gb)} GB · GPU ${gpu}`;
}

export class ResourcesPanel implements Panel {
  readonly root: HTMLElement;
  private readonly load: Figure;
  private readonly memory: Figure;
  private readonly plots: Plot[];
  private readonly packs = h('div', { class: 'autoglm-Packs' });
  private readonly nothing: HTMLElement;
  private readonly charts: HTMLElement;
  private readings: Reading[] = [];
  private key = '';
  private packsKey = '';

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    const describe = (i: number): string => {
      const r = this.readings[i];
      return r
        ? `${clock(r.t)} · CPU ${whole(r.machine_cpu_percent)} % · ${tenth(r.memory_gb)} GB · GPU ${whole(r.gpu_percent)} %`
        : '';
    };
    const rows = (): { caption: string; heads: string[]; rows: string[][] } => ({
      caption: trans.__('Readings of the worker and of the machine, newest first'),
      heads: [
        trans.__('Time'),
        trans.__('CPU of the machine'),
        trans.__('CPU of the worker'),
        trans.__('Memory of the worker'),
        trans.__('Memory of the machine'),
        trans.__('GPU'),
        trans.__('GPU memory')
      ],
      rows: [...this.readings].reverse().map(r => [
        clock(r.t),
        `${whole(r.machine_cpu_percent)} %`,
        `${whole(r.cpu_percent)} %`,
        `${tenth(r.memory_gb)} GB`,
        `${whole(r.machine_memory_percent)} %`,
        finite(r.gpu_percent) === null ? '–' : `${whole(r.gpu_percent)} %`,
        finite(r.gpu_memory_gb) === null ? '–' : `${tenth(r.gpu_memory_gb)} GB`
      ])
    });
    const figure = (title: string): Figure =>
      new Figure(ctx, { title, height: HEIGHT, table: rows, count: () => this.readings.length, describe });
    this.load = figure(trans.__('Use of CPU and GPU, per cent of the machine'));
    this.memory = figure(trans.__('Memory in GB'));
    this.plots = [
      this.plot(this.load, true, r => [r.machine_cpu_percent, r.gpu_percent]),
      this.plot(this.memory, false, r => [r.memory_gb, r.gpu_memory_gb])
    ];
    this.nothing = empty(trans.__('No reading yet.'));
    this.charts = h('div', { class: 'autoglm-Pair' }, titled(this.load), titled(this.memory));
    this.root = h('div', { class: 'autoglm-Panel autoglm-Scroll' }, this.nothing, this.charts, this.packs);
    const legend = (): HTMLElement[] => [
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-completed', 'aria-hidden': 'true' }, '━'), ' CPU'),
      h('span', { class: 'autoglm-Legend' }, h('span', { class: 'autoglm-sign autoglm-is-baseline', 'aria-hidden': 'true' }, '╍'), ' GPU')
    ];
    this.load.setExtra(...legend());
    this.memory.setExtra(...legend());
  }

  update(): void {
    const head = this.ctx.source.head();
    const readings = head.readings ?? [];
    const last = readings[readings.length - 1];
    const key = `${readings.length}-${last?.t}`;
    if (key !== this.key) {
      this.key = key;
      this.readings = readings;
      setHidden(this.nothing, readings.length > 0);
      setHidden(this.charts, readings.length === 0);
      if (last) {
        this.load.setSummary(resourceLine(readings));
        this.memory.setSummary(resourceLine(readings));
        this.plots.forEach(plot => plot.draw());
        this.load.refresh();
        this.memory.refresh();
      }
    }
    this.drawPacks(head.packs);
  }

  dispose(): void {
    this.plots.forEach(plot => plot.dispose());
  }

  private plot(figure: Figure, percent: boolean, of: (r: Reading) => (number | null)[]): Plot {
    const columns = (): (number | null)[][] => [0, 1].map(i => this.readings.map(r => finite(of(r)[i])));
    return new Plot(figure.stage, {
      height: HEIGHT,
      data: () => [this.readings.map(r => r.t), ...columns()] as uPlot.AlignedData,
      options: colours => ({
        padding: [8, 10, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        scales: {
          x: { time: true },
          y: {
            range: (u, min, max) => (percent ? [0, 100] : [0, Math.max(1e-3, (max || 1) * 1.15)])
          }
        },
        axes: [
          axis(colours, {
            size: 24,
            grid: { show: false },
            space: 90,
            values: (u, splits) => splits.map((s, i) => (i === splits.length - 1 ? '' : time(s, splits)))
          }),
          axis(colours, {
            size: 42,
            splits: (u, i, min, max) => ticks(min, max, 4),
            values: (u, splits) => splits.map(s => tickLabel(s, splits))
          })
        ],
        series: [
          {},
          { stroke: colours.completed, width: 2, points: { show: false } },
          { stroke: colours.baseline, width: 2, dash: [6, 4], points: { show: false } }
        ]
      })
    });
  }

  private drawPacks(packs: Packs | null | undefined): void {
    const { trans } = this.ctx;
    const key = JSON.stringify(packs ?? null);
    if (key === this.packsKey) {
      return;
    }
    this.packsKey = key;
    if (!packs?.now?.length && !packs?.alone?.length) {
      this.packs.replaceChildren();
      return;
    }
    const parts: HTMLElement[] = [];
    if (packs.now?.length) {
      parts.push(
        table(
          trans.__('Trials that train together in one step'),
          [trans.__('Trials'), trans.__('Model'), trans.__('Method'), trans.__('Tokens a step'), trans.__('Passes a step'), trans.__('Occupancy')],
          packs.now.map(p => [
            (p.trials ?? []).map(runName).join(', '),
            clean(p.model, 60),
            clean(p.method, 40),
            whole(p.tokens_per_step),
            tenth(p.passes_per_step),
            share(p.occupancy)
          ])
        )
      );
    }
    for (const lone of (packs.alone ?? []).slice(0, 12)) {
      const text = trans.__('%1 trains alone: %2', runName(lone.trial), clean(lone.because, 300));
      parts.push(h('p', { class: 'autoglm-Quiet' }, text));
    }
    parts.push(...stepCosts(packs, trans).map(text => h('p', {}, text)));
    this.packs.replaceChildren(...parts);
  }
}

/** A tick of the time axis: with seconds where minutes would not differ. */
function time(at: number, splits: readonly number[]): string {
  const seconds = splits.length > 1 && splits[1] - splits[0] < 60;
  return clock(at, at * 1000) + (seconds ? `:${String(new Date(at * 1000).getSeconds()).padStart(2, '0')}` : '');
}

/** A figure below its title. */
export function titled(figure: Figure): HTMLElement {
  const title = figure.root.getAttribute('aria-label') ?? '';
  return h('div', { class: 'autoglm-Titled' }, h('div', { class: 'autoglm-Title' }, title), figure.root);
}
