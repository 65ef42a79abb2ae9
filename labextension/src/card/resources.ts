/** CPU, memory and GPU over time, in all and by process, and which trials train together. */

import type { Context, Panel } from './context';
import { empty, h, setHidden, table } from './dom';
import { Figure, titled } from './figure';
import { runName, stepCosts } from './packs';
import type { Plot } from './plot';
import { ProcessCharts } from './processCharts';
import { readingPlot } from './readingPlot';
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
  private readonly each: ProcessCharts;
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
      this.plot(this.load, 100, r => [r.machine_cpu_percent, r.gpu_percent]),
      this.plot(this.memory, null, r => [r.memory_gb, r.gpu_memory_gb])
    ];
    this.each = new ProcessCharts(ctx);
    this.nothing = empty(trans.__('No reading yet.'));
    this.charts = h('div', { class: 'autoglm-Pair' }, titled(this.load), titled(this.memory));
    this.root = h('div', { class: 'autoglm-Panel autoglm-Scroll' }, this.nothing, this.charts, this.each.root, this.packs);
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
      this.each.update(readings);
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
    this.each.dispose();
  }

  private plot(figure: Figure, most: number | null, of: (r: Reading) => (number | null)[]): Plot {
    return readingPlot(figure.stage, {
      height: HEIGHT,
      most,
      times: () => this.readings.map(r => r.t),
      lines: () => [0, 1].map(i => this.readings.map(r => finite(of(r)[i]))),
      strokes: colours => [
        { stroke: colours.completed, dash: [] },
        { stroke: colours.baseline, dash: [6, 4] }
      ]
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
