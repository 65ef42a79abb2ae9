/**
 * The marks of many trials, kept as a picture: a redraw copies it, and a trial that ends adds one
 * mark. Only a new scale, size or theme draws them all again.
 */

import { addMark, drawMarks, type Shape } from './plot';
import type { Palette } from './theme';

const SHAPES: [string, Shape][] = [
  ['f', 'cross'],
  ['p', 'ring'],
  ['c', 'disc']
];

export interface MarkDrawing {
  /** Whatever decides where marks lie and how they look. */
  key: string;
  states: string;
  size: number;
  width: number;
  colours: Palette;
  place(index: number): [number, number];
  /** The places to draw when all are drawn. */
  all(): number[];
}

export class MarkLayer {
  private canvas: HTMLCanvasElement | null = null;
  private key = '';
  private touched: number[] = [];

  /** Draw all again the next time. */
  clear(): void {
    this.key = '';
    this.touched = [];
  }

  /** One mark was added or changed. */
  touch(index: number): void {
    this.touched.push(index);
  }

  draw(target: CanvasRenderingContext2D, drawing: MarkDrawing): void {
    const { width, height } = target.canvas;
    this.canvas ??= document.createElement('canvas');
    const key = `${drawing.key}${width}x${height}`;
    const whole = key !== this.key;
    if (whole) {
      this.canvas.width = width; // also empties it
      this.canvas.height = height;
      this.key = key;
    }
    const ctx = this.canvas.getContext('2d');
    if (!ctx) {
      return;
    }
    const places = whole ? drawing.all() : this.touched;
    this.touched = [];
    for (const [letter, shape] of SHAPES) {
      const mine = places.filter(i => drawing.states[i] === letter);
      if (!mine.length) {
        continue;
      }
      const path = new Path2D();
      for (const i of mine) {
        const [x, y] = drawing.place(i);
        addMark(path, shape, x, y, drawing.size);
      }
      const colour = letter === 'f' ? drawing.colours.failed : letter === 'p' ? drawing.colours.pruned : drawing.colours.completed;
      drawMarks(ctx, path, shape, colour, drawing.width);
    }
    target.save();
    target.setTransform(1, 0, 0, 1, 0, 0);
    target.drawImage(this.canvas, 0, 0);
    target.restore();
  }
}
