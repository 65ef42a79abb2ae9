/** Which hyper-parameters mattered: what each explains, and parallel co-ordinates of the best trials. */

import type { Context, Panel } from './context';
import { empty, h, setHidden } from './dom';
import { Figure, type TableData } from './figure';
import { ImportanceBars } from './importanceBars';
import { Parallel, positions, type Line } from './parallel';
import { span } from './scale';
import type { Points, Value } from './source';
import type { Parameter } from './space';
import { Story } from './story';
import { clean, finite, number, score } from './words';

const HEIGHT = 200;
/** More lines than this cannot be told apart; the best are kept. */
export const MAX_LINES = 400;
const MAX_AXES = 9;

/** The value of a column's entry: a choice by its index, a number as it is. */
export function columnValue(points: Points, name: string, i: number): Value | undefined {
  const column = points.parameters?.[name];
  const raw = column?.values[i];
  if (!column || raw === null || raw === undefined) {
    return undefined;
  }
  return column.choices ? column.choices[raw] : raw;
}

/** Choices as the columns have them: words stay, everything else as JSON. */
export function asColumn(p: Parameter): Parameter {
  return p.choices ? { ...p, choices: p.choices.map(c => (typeof c === 'string' || typeof c === 'number' ? c : JSON.stringify(c))) } : p;
}

/** Axes for a study whose space is not known: what differed between its trials. */
export function foundParameters(points: Points): Parameter[] {
  const found: Parameter[] = [];
  for (const [name, column] of Object.entries(points.parameters ?? {})) {
    const values = column.values.filter((v): v is number => v !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (column.choices && column.choices.length > 1) {
      found.push({ name, kind: 'categorical', choices: column.choices });
    } else if (!column.choices && high > low) {
      found.push({ name, kind: 'float', low, high, log: low > 0 && high / low > 100 });
    }
  }
  return found;
}

/** The indices of the best completed trials, best first. */
export function bestIndices(points: Points, maximize: boolean, count: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < points.numbers.length; i++) {
    if (points.states[i] === 'c' && finite(points.values[i]) !== null) {
      found.push(i);
    }
  }
  const value = (i: number): number => points.values[i] as number;
  return found.sort((a, b) => (maximize ? value(b) - value(a) : value(a) - value(b))).slice(0, count);
}

export class ParametersPanel implements Panel {
  readonly root: HTMLElement;
  private readonly figure: Figure;
  private readonly parallel: Parallel;
  private readonly nothing: HTMLElement;
  private readonly bars: ImportanceBars;
  private points: Points | null = null;
  private asked = -1;
  private askedAt = 0;
  private chosen: Line[] = [];
  private lines: Line[] = [];
  private index = new Map<number, number>();
  private parameters: Parameter[] = [];
  private story: Story;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.story = new Story(ctx.source.head(), trans);
    this.figure = new Figure(ctx, {
      title: trans.__('Hyper-parameters of the best trials'),
      height: HEIGHT,
      table: () => this.table(),
      count: () => this.lines.length,
      describe: i => this.describe(i),
      mark: i => this.parallel.mark(i)
    });
    this.parallel = new Parallel(trans, HEIGHT, chosen => this.onSelect(chosen));
    this.figure.stage.append(this.parallel.root);
    this.nothing = empty(trans.__('No trial has been completed yet.'));
    this.bars = new ImportanceBars(ctx);
    this.root = h('div', { class: 'autoglm-Panel autoglm-Scroll' }, this.nothing, this.figure.root, this.bars.root);
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    const ended = head.headline?.finished ?? 0;
    const due = Date.now() - this.askedAt > (ended > 1000 ? 10_000 : 2_000);
    if (ended !== this.asked && due) {
      this.asked = ended;
      this.askedAt = Date.now();
      void this.ctx.source
        .points({ parameters: true })
        .then(points => this.draw(points))
        .catch(() => (this.asked = -1));
    }
    this.bars.update(this.story);
  }

  dispose(): void {
    this.parallel.dispose();
  }

  private draw(points: Points): void {
    this.points = points;
    const best = bestIndices(points, this.story.maximize, MAX_LINES);
    const known = this.story.parameters.filter(p => points.parameters?.[p.name]).map(asColumn);
    this.parameters = (known.length ? known : foundParameters(points)).slice(0, MAX_AXES);
    const values = best.map(i => points.values[i] as number);
    const range = span(values, [], this.story.maximize);
    this.index = new Map(best.map(i => [points.numbers[i], i]));
    this.lines = best.map(i => {
      const config = this.parameters.map(p => columnValue(points, p.name, i));
      const value = points.values[i] as number;
      const up = Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0])));
      return {
        number: points.numbers[i],
        at: [...positions(this.parameters, config), up],
        value: this.story.maximize ? value : -value,
        best: points.numbers[i] === this.story.head.headline?.best_trial
      };
    });
    setHidden(this.nothing, this.lines.length > 0);
    setHidden(this.figure.root, this.lines.length === 0);
    // The worst first, so that the best are drawn on top.
    this.lines.reverse();
    this.parallel.set(this.parameters, this.story.metric, range, this.lines);
    this.figure.refresh();
  }

  private onSelect(chosen: Line[]): void {
    const { trans } = this.ctx;
    this.chosen = chosen;
    const all = (this.points?.states.match(/c/g) ?? []).length;
    const brushed = this.parallel.brushes.some(Boolean);
    const text = brushed
      ? trans.__('%1 of %2 trials selected', chosen.length, this.lines.length)
      : this.lines.length < all
        ? trans.__('the best %1 of %2 completed trials', this.lines.length, all)
        : trans._n('%1 completed trial', '%1 completed trials', all);
    this.figure.setExtra(h('span', { class: 'autoglm-Quiet' }, text));
    this.figure.setSummary(text);
    if (brushed) {
      this.ctx.announce(text);
    }
    this.figure.refresh();
  }

  private config(number: number): (Value | undefined)[] {
    const i = this.index.get(number);
    const points = this.points;
    return i === undefined || !points ? [] : this.parameters.map(p => columnValue(points, p.name, i));
  }

  private describe(i: number): string {
    const line = this.lines[i];
    if (!line) {
      return '';
    }
    const values = this.config(line.number);
    const words = this.parameters.map((p, k) => `${clean(p.name, 30)} ${number(values[k], 3, this.ctx.trans)}`).join(', ');
    return `#${line.number} · ${score(this.story.maximize ? line.value : -line.value)} · ${words}`;
  }

  private table(): TableData {
    const { trans } = this.ctx;
    const rows = [...this.chosen].reverse();
    return {
      caption: trans.__('Selected trials, best first'),
      heads: [trans.__('Trial'), this.story.metric, ...this.parameters.map(p => clean(p.name, 40))],
      rows: rows.map(line => [
        `#${line.number}`,
        score(this.story.maximize ? line.value : -line.value),
        ...this.config(line.number).map(v => number(v, 3, trans))
      ])
    };
  }
}
