/**
 * Where the search looked: a strip for each hyper-parameter with every trial at its place in time,
 * the range it may lie in and, shaded, the middle four fifths of what was proposed lately. Marks tell
 * by their shape what proposed a trial; a line leads through those that were the best so far.
 */

import type { Context, Panel } from './context';
import { empty, h, setHidden, table } from './dom';
import { ORIGINS, SHAPES, SIGNS, incumbents, origins, originWords, trailRows, trails, trialWords, type Marked, type Origin, type Trail } from './evolution';
import { Figure, type TableData } from './figure';
import { asColumn } from './parameters';
import { addMark, drawMarks } from './plot';
import { quantile, thin } from './scale';
import type { Points } from './source';
import { conditionWords, parameters, rangeWords, valueAt, type Parameter } from './space';
import { Story } from './story';
import { onThemeChange, palette } from './theme';
import { clean, number } from './words';

const STRIP = 74;
const LEFT = 66;
const RIGHT = 10;

/** Quantiles of positions in a sliding window: `[x, low, high]` at each step. */
export function envelope(xs: readonly number[], at: readonly (number | null)[], steps = 40): [number, number, number][] {
  const known = xs.map((x, i) => [x, at[i]] as const).filter((p): p is readonly [number, number] => p[1] !== null);
  if (known.length < 8) {
    return [];
  }
  const window = Math.max(8, Math.ceil(known.length / 8));
  const found: [number, number, number][] = [];
  const stride = Math.max(1, Math.floor((known.length - window) / steps));
  for (let end = window; end <= known.length; end += stride) {
    const part = known.slice(end - window, end);
    const values = part.map(p => p[1]).sort((a, b) => a - b);
    found.push([part[part.length - 1][0], quantile(values, 0.1), quantile(values, 0.9)]);
  }
  return found;
}

export class SpacePanel implements Panel {
  readonly root: HTMLElement;
  private readonly nothing: HTMLElement;
  private readonly figure: Figure;
  private readonly legends = h('div', { class: 'autoglm-Legends' });
  private readonly canvas = h('canvas', { 'aria-hidden': 'true' });
  private readonly facts = h('div', { class: 'autoglm-Facts' });
  private points: Points | null = null;
  private list: Parameter[] = [];
  private trails: Trail[] = [];
  private origins: (Origin | null)[] = [];
  private best: Marked = { places: new Set(), words: '' };
  private marked: number | null = null;
  private asked = -1;
  private askedAt = 0;
  private key = '';
  private story: Story;
  private readonly observer: ResizeObserver;
  private readonly stop: () => void;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.story = new Story(ctx.source.head(), trans);
    const height = Math.max(1, this.story.parameters.length) * STRIP + 18;
    this.figure = new Figure(ctx, {
      title: trans.__('Where the search looked, trial by trial'),
      height,
      table: () => this.table(),
      count: () => this.points?.numbers.length ?? 0,
      describe: i => (this.points ? trialWords(this.points, this.list, this.best, i, trans) : ''),
      mark: i => {
        this.marked = i;
        this.draw();
      }
    });
    this.figure.stage.append(this.canvas);
    this.legend();
    this.nothing = empty(trans.__('No trial has been proposed yet.'));
    this.root = h('div', { class: 'autoglm-Panel autoglm-Scroll' }, this.facts, this.nothing, this.legends, this.figure.root);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.figure.stage);
    this.stop = onThemeChange(() => this.draw());
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    this.drawFacts();
    const total = head.trials_total ?? 0;
    const known = total + (head.headline?.finished ?? 0); // a trial that ends may be the best so far
    const due = Date.now() - this.askedAt > (total > 1000 ? 10_000 : 2_000);
    if (known !== this.asked && due) {
      this.asked = known;
      this.askedAt = Date.now();
      void this.ctx.source
        .points({ parameters: true })
        .then(points => {
          this.take(points);
          this.draw();
          this.figure.refresh();
        })
        .catch(() => (this.asked = -1));
    }
    setHidden(this.nothing, total > 0);
    const bare = total === 0 || !this.story.parameters.length;
    setHidden(this.figure.root, bare);
    setHidden(this.legends, bare);
  }

  dispose(): void {
    this.observer.disconnect();
    this.stop();
  }

  private drawFacts(): void {
    const { trans } = this.ctx;
    const head = this.ctx.source.head();
    const key = JSON.stringify(head.space);
    if (key === this.key) {
      return;
    }
    this.key = key;
    const rows = parameters(head.space).map(p => [clean(p.name, 40), rangeWords(p, trans), conditionWords(p.condition, trans)]);
    this.facts.replaceChildren(table(trans.__('What is searched'), [trans.__('Name'), trans.__('Values'), trans.__('Only if')], rows));
  }

  private take(points: Points): void {
    const head = this.ctx.source.head();
    this.points = points;
    this.list = this.story.parameters.map(asColumn);
    this.trails = trails(points, this.list);
    this.origins = origins(points);
    // With several objectives no single trial is the best so far: the front is marked.
    const front = new Set(head.front ?? []);
    const several = this.story.objectives.length > 1;
    this.best = {
      places: new Set(several ? points.numbers.flatMap((n, i) => (front.has(n) ? [i] : [])) : incumbents(points, head.curve)),
      words: several ? this.ctx.trans.__('Pareto front') : this.ctx.trans.__('best so far')
    };
    this.legend();
  }

  /** What the marks mean, of those that are there. */
  private legend(): void {
    const { trans } = this.ctx;
    const entry = (kind: string, sign: string, words: string): HTMLElement =>
      h('span', { class: 'autoglm-Legend' }, h('span', { class: `autoglm-sign autoglm-is-${kind}`, 'aria-hidden': 'true' }, sign), ` ${words}`);
    const here = new Set(this.origins);
    const marks = ORIGINS.filter(origin => here.has(origin));
    const several = this.story.objectives.length > 1;
    this.legends.replaceChildren(
      ...(marks.length ? marks.map(origin => entry('completed', SIGNS[origin], originWords(origin, trans))) : [entry('completed', '●', trans.__('proposed'))]),
      entry('best', several ? '★' : '★━', several ? trans.__('Pareto front') : trans.__('best so far')),
      entry('band', '▒', trans.__('middle four fifths of late proposals'))
    );
  }

  private draw(): void {
    const width = this.figure.stage.clientWidth;
    const ctx = this.canvas.getContext('2d');
    const points = this.points;
    if (!width || !ctx || !points) {
      return;
    }
    const height = Math.max(1, this.list.length) * STRIP + 18;
    const ratio = devicePixelRatio;
    this.figure.setHeight(height);
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    const last = Math.max(1, points.numbers[points.numbers.length - 1] ?? 1);
    const x = (n: number): number => LEFT + (n / last) * (width - LEFT - RIGHT - 8) + 4;
    this.trails.forEach((trail, i) => this.strip(ctx, trail, i * STRIP, width, x, points));
    const colours = palette(this.root);
    if (this.marked !== null && points.numbers[this.marked] !== undefined) {
      ctx.fillStyle = colours.text;
      ctx.fillRect(x(points.numbers[this.marked]) - 0.5, 0, 1, height - 18);
    }
    ctx.font = colours.font;
    ctx.fillStyle = colours.quiet;
    ctx.textAlign = 'left';
    ctx.fillText('0', LEFT + 4, height - 4);
    ctx.textAlign = 'right';
    ctx.fillText(`${this.ctx.trans.__('trial')} ${last}`, width - RIGHT, height - 4);
    this.figure.setSummary(this.story.parameters.map(p => `${p.name} ${rangeWords(p, this.ctx.trans)}`).join('; '));
  }

  private strip(
    ctx: CanvasRenderingContext2D,
    { p, at }: Trail,
    top: number,
    width: number,
    x: (n: number) => number,
    points: Points
  ): void {
    const colours = palette(this.root);
    const [high, low] = [top + 20, top + STRIP - 6];
    const y = (at: number): number => low - at * (low - high);
    ctx.font = colours.font;
    ctx.fillStyle = colours.text;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'alphabetic';
    ctx.fillText(clean(p.name, 40), LEFT, top + 12);
    ctx.fillStyle = colours.quiet;
    ctx.textAlign = 'right';
    ctx.fillText(number(valueAt(p, 1), 3, this.ctx.trans), LEFT - 6, high + 5);
    ctx.fillText(number(valueAt(p, 0), 3, this.ctx.trans), LEFT - 6, low + 3);
    ctx.strokeStyle = colours.grid;
    ctx.lineWidth = 1;
    ctx.strokeRect(LEFT + 0.5, high - 4.5, width - LEFT - RIGHT, low - high + 9);
    if (!p.choices) {
      const band = envelope(points.numbers, at);
      ctx.fillStyle = colours.completed;
      ctx.globalAlpha = 0.14;
      ctx.beginPath();
      band.forEach(([n, , h_]) => ctx.lineTo(x(n), y(h_)));
      [...band].reverse().forEach(([n, l]) => ctx.lineTo(x(n), y(l)));
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    const many = points.numbers.length > 400;
    const drawn = thin(points.numbers, at, x, y, many ? 3 : 2);
    for (const origin of ORIGINS) {
      const path = new Path2D();
      for (const i of drawn) {
        if ((this.origins[i] ?? 'model') === origin) {
          addMark(path, SHAPES[origin], x(points.numbers[i]), y(at[i] as number), many ? 1.6 : 2.6);
        }
      }
      drawMarks(ctx, path, SHAPES[origin], colours.completed, 1);
    }
    this.lead(ctx, at, y, x, points, colours.best);
  }

  /** The trials that were the best so far: stars, and for one objective a line that keeps their value until the next. */
  private lead(
    ctx: CanvasRenderingContext2D,
    at: readonly (number | null)[],
    y: (at: number) => number,
    x: (n: number) => number,
    points: Points,
    colour: string
  ): void {
    const stars = new Path2D();
    const line = new Path2D();
    let level: number | null = null;
    for (const i of this.best.places) {
      const place = at[i];
      if (place === null) {
        level = null; // the best does not have this parameter
        continue;
      }
      const here = x(points.numbers[i]);
      if (level !== null) {
        line.lineTo(here, y(level));
        line.lineTo(here, y(place));
      } else {
        line.moveTo(here, y(place));
      }
      level = place;
      addMark(stars, 'star', here, y(place), 3.4);
    }
    if (level !== null) {
      line.lineTo(x(points.numbers[points.numbers.length - 1]), y(level));
    }
    if (this.story.objectives.length < 2) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = 1.2;
      ctx.stroke(line);
    }
    drawMarks(ctx, stars, 'star', colour, 1);
  }

  private table(): TableData {
    const { trans } = this.ctx;
    return {
      caption: trans.__('What was proposed, newest first'),
      heads: [trans.__('Trial'), trans.__('Proposed by'), this.story.metric, ...this.list.map(p => clean(p.name, 40))],
      rows: this.points ? trailRows(this.points, this.list, this.best, trans) : []
    };
  }
}
