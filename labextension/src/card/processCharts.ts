/** The charts of what each process of the worker uses, shown where there are several. */

import type { Context } from './context';
import { h, setHidden } from './dom';
import { Figure, titled } from './figure';
import type { Plot } from './plot';
import { drawnProcesses, LINES, processLines, processName, processRows, processWords, severalProcesses, tellsOf, type Use } from './processes';
import { readingPlot } from './readingPlot';
import type { Reading } from './source';

const HEIGHT = 128;

interface Chart {
  use: Use;
  figure: Figure;
  root: HTMLElement;
  plot: Plot;
}

export class ProcessCharts {
  readonly root = h('div', { class: 'autoglm-Processes' });
  private readonly legends = h('div', { class: 'autoglm-Legends' });
  private readonly charts: Chart[];
  private readings: readonly Reading[] = [];
  private pids: number[] = [];

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.charts = [
      this.chart('cpu_percent', trans.__('CPU by process, 100 = one core')),
      this.chart('memory_gb', trans.__('Memory by process in GB')),
      this.chart('gpu_percent', trans.__('GPU by process, per cent of the device')),
      this.chart('gpu_memory_gb', trans.__('GPU memory by process in GB'))
    ];
    this.root.append(this.legends, h('div', { class: 'autoglm-Pair' }, ...this.charts.map(chart => chart.root)));
    this.root.hidden = true;
  }

  update(readings: readonly Reading[]): void {
    const { trans } = this.ctx;
    const several = severalProcesses(readings);
    setHidden(this.root, !several);
    if (!several) {
      return;
    }
    this.readings = readings;
    this.pids = drawnProcesses(readings);
    this.legends.replaceChildren(
      ...this.pids.map((pid, k) =>
        h(
          'span',
          { class: 'autoglm-Legend' },
          h('span', { class: `autoglm-sign autoglm-is-${LINES[k].colour}`, 'aria-hidden': 'true' }, LINES[k].sign),
          ` ${processName(pid, this.pids[0], trans)}`
        )
      )
    );
    for (const { use, figure, root, plot } of this.charts) {
      const told = tellsOf(readings, use);
      setHidden(root, !told);
      if (told) {
        figure.setSummary(processWords(readings[readings.length - 1], use, trans));
        plot.draw();
        figure.refresh();
      }
    }
  }

  dispose(): void {
    this.charts.forEach(chart => chart.plot.dispose());
  }

  private chart(use: Use, title: string): Chart {
    const { trans } = this.ctx;
    const figure = new Figure(this.ctx, {
      title,
      height: HEIGHT,
      table: () => ({
        caption: trans.__('What each process used, newest first'),
        heads: [trans.__('Time'), trans.__('Process'), 'CPU', trans.__('Memory'), trans.__('GPU'), trans.__('GPU memory')],
        rows: processRows(this.readings, trans)
      }),
      count: () => this.readings.length,
      describe: i => processWords(this.readings[i], use, trans)
    });
    const plot = readingPlot(figure.stage, {
      height: HEIGHT,
      most: null,
      times: () => this.readings.map(r => r.t),
      lines: () => processLines(this.readings, this.pids, use),
      strokes: colours => LINES.map(({ dash, colour }) => ({ dash, stroke: colours[colour] }))
    });
    return { use, figure, root: titled(figure), plot };
  }
}
