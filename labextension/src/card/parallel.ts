/**
 * Parallel co-ordinates: one axis for each hyper-parameter and one for the value, a line for each
 * trial. A stretch of an axis is selected by dragging along it, or with the arrow keys once the
 * axis has the focus; lines inside all selections stand out.
 */

import { h, setAttribute, setText } from './dom';
import type { Trans } from './source';
import { position, valueAt, type Parameter } from './space';
import { onThemeChange, palette } from './theme';
import { number, score } from './words';

/** One trial as a line: positions 0..1 on each axis, null where the axis does not apply. */
export interface Line {
  number: number;
  at: (number | null)[];
  value: number;
  best: boolean;
}

export type Brush = [number, number] | null;

/** Whether a line lies inside every selection. */
export function inside(line: Line, brushes: readonly Brush[]): boolean {
  return brushes.every((brush, i) => {
    const at = line.at[i];
    return brush === null || (at !== null && at >= brush[0] - 1e-9 && at <= brush[1] + 1e-9);
  });
}

/** The selection after a key on an axis: up and down move it, with Shift they size it. */
export function brushKey(brush: Brush, key: string, shift: boolean): Brush | undefined {
  const step = 0.05;
  const [low, high] = brush ?? [0.25, 0.75];
  const cut = (a: number, b: number): Brush => [Math.max(0, Math.min(a, b)), Math.min(1, Math.max(a, b))];
  if (key === 'Escape' || key === 'Delete' || key === 'Backspace') {
    return null;
  }
  if (key !== 'ArrowUp' && key !== 'ArrowDown') {
    return undefined;
  }
  if (!brush) {
    return key === 'ArrowUp' ? [0.5, 1] : [0, 0.5];
  }
  const way = key === 'ArrowUp' ? step : -step;
  if (shift) {
    return high + way - low < step ? [low, Math.min(1, low + step)] : cut(low, high + way);
  }
  const move = Math.max(-low, Math.min(1 - high, way));
  return cut(low + move, high + move);
}

const TOP = 30;
const BOTTOM = 22;
const SIDE = 64;

interface Axis {
  title: string;
  parameter: Parameter | null;
  range: [number, number];
}

export class Parallel {
  readonly root: HTMLElement;
  brushes: Brush[] = [];
  private axes: Axis[] = [];
  private lines: Line[] = [];
  private handles: HTMLElement[] = [];
  private readonly canvas = h('canvas', { 'aria-hidden': 'true' });
  private readonly overlay = h('div', { class: 'autoglm-Parallel-axes' });
  private readonly observer: ResizeObserver;
  private readonly stop: () => void;
  private marked: number | null = null;

  constructor(
    private readonly trans: Trans,
    private readonly height: number,
    private readonly selected: (inside: Line[]) => void
  ) {
    this.root = h('div', { class: 'autoglm-Parallel' }, this.canvas, this.overlay);
    this.root.style.height = `${height}px`;
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.root);
    this.stop = onThemeChange(() => this.draw());
  }

  /** Draw these lines; the last axis is the value's. Selections stay where the axes are the same. */
  set(parameters: readonly Parameter[], metric: string, range: [number, number], lines: Line[]): void {
    const axes = [...parameters.map(p => ({ title: p.name, parameter: p, range: [0, 1] as [number, number] })), { title: metric, parameter: null, range }];
    const same = axes.length === this.axes.length && axes.every((a, i) => a.title === this.axes[i].title);
    this.axes = axes;
    this.lines = lines;
    if (!same) {
      this.brushes = axes.map(() => null);
      this.build();
    }
    this.layout();
    this.selected(this.chosen);
  }

  get chosen(): Line[] {
    return this.lines.filter(line => inside(line, this.brushes));
  }

  mark(index: number | null): void {
    this.marked = index;
    this.draw();
  }

  dispose(): void {
    this.stop();
    this.observer.disconnect();
  }

  private build(): void {
    this.handles = this.axes.map((axis, i) => {
      const band = h('div', { class: 'autoglm-Parallel-band' });
      const handle = h(
        'div',
        {
          class: 'autoglm-Parallel-axis',
          role: 'slider',
          tabindex: 0,
          'aria-orientation': 'vertical',
          'aria-valuemin': 0,
          'aria-valuemax': 100,
          onkeydown: (event: KeyboardEvent) => this.onKey(event, i),
          onpointerdown: (event: PointerEvent) => this.onDrag(event, i),
          ondblclick: () => this.brush(i, null)
        },
        band
      );
      setAttribute(handle, 'title', this.trans.__('Drag, or use the arrow keys (Shift changes the length, Escape clears)'));
      return handle;
    });
    this.overlay.replaceChildren(
      ...this.axes.flatMap((axis, i) => [
        this.handles[i],
        h('span', { class: 'autoglm-Parallel-title', title: axis.title }, axis.title),
        h('span', { class: 'autoglm-Parallel-top' }, this.label(axis, 1)),
        h('span', { class: 'autoglm-Parallel-bottom' }, this.label(axis, 0))
      ])
    );
  }

  private label(axis: Axis, at: number): string {
    return axis.parameter ? number(valueAt(axis.parameter, at), 3, this.trans) : score(axis.range[0] + at * (axis.range[1] - axis.range[0]));
  }

  private x(i: number): number {
    const width = this.root.clientWidth;
    return this.axes.length < 2 ? width / 2 : SIDE + (i * (width - 2 * SIDE)) / (this.axes.length - 1);
  }

  private y(at: number): number {
    return TOP + (1 - at) * (this.height - TOP - BOTTOM);
  }

  private layout(): void {
    if (!this.root.clientWidth) {
      return;
    }
    const step = this.axes.length < 2 ? 200 : this.x(1) - this.x(0);
    [...this.overlay.children].forEach((element, k) => {
      const i = Math.floor(k / 4);
      const part = element as HTMLElement;
      part.style.left = `${this.x(i)}px`;
      if (k % 4 === 0) {
        part.style.top = `${TOP}px`;
        part.style.height = `${this.height - TOP - BOTTOM}px`;
      } else {
        part.style.maxWidth = `${Math.max(40, step - 6)}px`;
        if (k % 4 === 2) {
          setText(part, this.label(this.axes[i], 1));
        } else if (k % 4 === 3) {
          setText(part, this.label(this.axes[i], 0));
        }
      }
    });
    this.bands();
    this.draw();
  }

  private bands(): void {
    this.handles.forEach((handle, i) => {
      const brush = this.brushes[i];
      const band = handle.firstElementChild as HTMLElement;
      const size = this.height - TOP - BOTTOM;
      band.hidden = !brush;
      const axis = this.axes[i];
      let words = this.trans.__('all');
      if (brush) {
        band.style.top = `${(1 - brush[1]) * size}px`;
        band.style.height = `${Math.max(3, (brush[1] - brush[0]) * size)}px`;
        words = this.trans.__('%1 to %2', this.label(axis, brush[0]), this.label(axis, brush[1]));
      }
      setAttribute(handle, 'aria-label', this.trans.__('Selection on %1', axis.title));
      setAttribute(handle, 'aria-valuenow', brush ? Math.round(50 * (brush[0] + brush[1])) : 50);
      setAttribute(handle, 'aria-valuetext', words);
    });
  }

  private brush(i: number, brush: Brush): void {
    this.brushes[i] = brush;
    this.bands();
    this.draw();
    this.selected(this.chosen);
  }

  private onKey(event: KeyboardEvent, i: number): void {
    const next = brushKey(this.brushes[i], event.key, event.shiftKey);
    if (next !== undefined) {
      event.preventDefault();
      event.stopPropagation();
      this.brush(i, next);
    }
  }

  private onDrag(event: PointerEvent, i: number): void {
    const handle = this.handles[i];
    const box = handle.getBoundingClientRect();
    const at = (e: PointerEvent): number => Math.min(1, Math.max(0, 1 - (e.clientY - box.top) / box.height));
    const start = at(event);
    handle.setPointerCapture(event.pointerId);
    const move = (e: PointerEvent): void => {
      const now = at(e);
      if (Math.abs(now - start) > 0.01) {
        this.brush(i, [Math.min(start, now), Math.max(start, now)]);
      }
    };
    const end = (e: PointerEvent): void => {
      handle.removeEventListener('pointermove', move);
      handle.removeEventListener('pointerup', end);
      handle.removeEventListener('pointercancel', end);
      if (Math.abs(at(e) - start) <= 0.01) {
        this.brush(i, null);
      }
    };
    handle.addEventListener('pointermove', move);
    handle.addEventListener('pointerup', end);
    handle.addEventListener('pointercancel', end);
  }

  private draw(): void {
    const width = this.root.clientWidth;
    const ctx = this.canvas.getContext('2d');
    if (!width || !ctx) {
      return;
    }
    const ratio = devicePixelRatio;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(this.height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${this.height}px`;
    }
    const colours = palette(this.root);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, this.height);
    const brushed = this.brushes.some(Boolean);
    const values = this.lines.map(l => l.value);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    this.lines.forEach((line, index) => {
      const on = inside(line, this.brushes);
      const rank = most > least ? (line.value - least) / (most - least) : 1;
      ctx.strokeStyle = line.best ? colours.best : on ? colours.completed : colours.quiet;
      ctx.globalAlpha = index === this.marked || line.best ? 1 : on ? (brushed ? 0.85 : 0.18 + 0.6 * rank) : 0.1;
      ctx.lineWidth = index === this.marked ? 4 : line.best ? 3 : on && brushed ? 1.8 : 1.2;
      this.path(ctx, line);
    });
    ctx.globalAlpha = 1;
  }

  /** A line skips an axis that does not apply to its trial, dashed across the gap. */
  private path(ctx: CanvasRenderingContext2D, line: Line): void {
    let from: [number, number] | null = null;
    let skipped = false;
    line.at.forEach((at, i) => {
      if (at === null) {
        skipped = from !== null;
        return;
      }
      const to: [number, number] = [this.x(i), this.y(at)];
      if (from) {
        ctx.setLineDash(skipped ? [3, 4] : []);
        ctx.beginPath();
        ctx.moveTo(from[0], from[1]);
        ctx.lineTo(to[0], to[1]);
        ctx.stroke();
      }
      from = to;
      skipped = false;
    });
    ctx.setLineDash([]);
  }
}

/** Positions of a configuration's values on the axes of `parameters`. */
export function positions(parameters: readonly Parameter[], values: readonly unknown[]): (number | null)[] {
  return parameters.map((p, i) => position(p, values[i] as never));
}
