/** Lines over the time of day, as the charts of readings draw them. */

import type uPlot from 'uplot';

import { axis, Plot } from './plot';
import { tickLabel, ticks } from './scale';
import type { Palette } from './theme';
import { clock } from './words';

export interface ReadingPlotSpec {
  height: number;
  /** The upper end of the scale; null follows the data. */
  most: number | null;
  times(): number[];
  /** As many as there are strokes. */
  lines(): (number | null)[][];
  strokes(colours: Palette): { stroke: string; dash: number[] }[];
}

export function readingPlot(stage: HTMLElement, spec: ReadingPlotSpec): Plot {
  return new Plot(stage, {
    height: spec.height,
    data: () => [spec.times(), ...spec.lines()] as uPlot.AlignedData,
    options: colours => ({
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      scales: {
        x: { time: true },
        y: {
          range: (u, min, max) => [0, spec.most ?? Math.max(1e-3, (max || 1) * 1.15)]
        }
      },
      axes: [
        axis(colours, {
          size: 24,
          grid: { show: false },
          space: 90,
          values: (u, splits) => splits.map((s, i) => (i > 0 && i === splits.length - 1 ? '' : time(s, splits)))
        }),
        axis(colours, {
          size: 42,
          splits: (u, i, min, max) => ticks(min, max, 4),
          values: (u, splits) => splits.map(s => tickLabel(s, splits))
        })
      ],
      series: [{}, ...spec.strokes(colours).map(({ stroke, dash }) => ({ stroke, dash, width: 2, points: { show: false } }))]
    })
  });
}

/** A tick of the time axis: with seconds where minutes would not differ. */
function time(at: number, splits: readonly number[]): string {
  const seconds = splits.length > 1 && splits[1] - splits[0] < 60;
  return clock(at, at * 1000) + (seconds ? `:${String(new Date(at * 1000).getSeconds()).padStart(2, '0')}` : '');
}
