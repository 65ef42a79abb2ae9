/**
 * uPlot with what every chart of a card needs: the theme's colours, the width of its place, and
 * nothing that animates. Marks are drawn here because states differ by shape.
 */

import uPlot from 'uplot';

import { onThemeChange, palette, type Palette } from './theme';

export type Shape = 'disc' | 'ring' | 'cross' | 'star' | 'square';

export interface PlotSpec {
  /** Options that depend on the colours; called again when the theme changes. */
  options(colours: Palette): Omit<uPlot.Options, 'width' | 'height'>;
  data(): uPlot.AlignedData;
  height: number;
}

/** A line that keeps its level until the next point. */
export const stepped = (uPlot.paths.stepped as uPlot.Series.SteppedPathBuilderFactory)({ align: 1 });

/** An axis in the theme's colours. */
export function axis(colours: Palette, changes: uPlot.Axis = {}): uPlot.Axis {
  return {
    stroke: colours.quiet,
    font: colours.font,
    labelFont: colours.font,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { stroke: colours.grid, width: 1, size: 4 },
    ...changes
  };
}

/** Add one mark to a path, in canvas pixels. */
export function addMark(path: Path2D, shape: Shape, x: number, y: number, size: number): void {
  if (shape === 'cross') {
    path.moveTo(x - size, y - size);
    path.lineTo(x + size, y + size);
    path.moveTo(x - size, y + size);
    path.lineTo(x + size, y - size);
    return;
  }
  if (shape === 'square') {
    path.rect(x - size, y - size, 2 * size, 2 * size);
    return;
  }
  if (shape === 'star') {
    for (let i = 0; i <= 10; i++) {
      const radius = i % 2 ? size * 0.75 : size * 1.7;
      const angle = -Math.PI / 2 + (i * Math.PI) / 5;
      const [px, py] = [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
      if (i) {
        path.lineTo(px, py);
      } else {
        path.moveTo(px, py);
      }
    }
    return;
  }
  path.moveTo(x + size, y);
  path.arc(x, y, size, 0, 2 * Math.PI);
}

/** Draw a path of marks: rings and crosses by their line, the others filled. */
export function drawMarks(ctx: CanvasRenderingContext2D, path: Path2D, shape: Shape, colour: string, width: number): void {
  ctx.save();
  if (shape === 'ring' || shape === 'cross') {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.lineCap = 'round';
    ctx.setLineDash([]); // the line drawn before may have been dashed
    ctx.stroke(path);
  } else {
    ctx.fillStyle = colour;
    ctx.fill(path);
  }
  ctx.restore();
}

/** A uPlot that fits its host and follows the theme. `draw` may be called at any time. */
export class Plot {
  uplot: uPlot | null = null;
  colours: Palette;
  private readonly observer: ResizeObserver;
  private readonly stop: () => void;
  /** The theme changed while the chart was hidden. */
  private stale = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly spec: PlotSpec
  ) {
    this.colours = palette(host);
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(host);
    this.stop = onThemeChange(() => this.rebuild());
  }

  /** Draw the present data; the chart is made at the first call for which the host has a width. */
  draw(): void {
    if (!this.uplot) {
      this.rebuild();
    } else {
      this.uplot.setData(this.spec.data(), true);
    }
  }

  /** Draw what hooks draw again, without new data. */
  redraw(): void {
    this.uplot?.redraw(false);
  }

  dispose(): void {
    this.stop();
    this.observer.disconnect();
    this.uplot?.destroy();
    this.uplot = null;
  }

  private fit(): void {
    const width = this.host.clientWidth;
    if (!width) {
      return;
    }
    if (!this.uplot || this.stale) {
      this.rebuild();
    } else if (Math.abs(this.uplot.width - width) > 1) {
      this.uplot.setSize({ width, height: this.spec.height });
    }
  }

  private rebuild(): void {
    const width = this.host.clientWidth;
    this.stale = !width;
    if (!width) {
      return;
    }
    this.uplot?.destroy();
    this.colours = palette(this.host);
    this.uplot = new uPlot(
      {
        ...this.spec.options(this.colours),
        width,
        height: this.spec.height
      },
      this.spec.data(),
      this.host
    );
    // The frame around the chart speaks for it; the canvas itself says nothing to a screen reader.
    this.uplot.root.setAttribute('aria-hidden', 'true');
  }
}
