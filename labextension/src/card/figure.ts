/**
 * A frame around one chart: fixed height, a caption, a real table behind it (a switch away), and a
 * cursor that the arrow keys move. What the cursor stands on is shown in a line under the chart and
 * spoken through the card's live region.
 */

import type { Context } from './context';
import { clear, h, setAttribute, setHidden, setText, table, uid } from './dom';

export interface TableData {
  caption: string;
  heads: string[];
  rows: string[][];
}

export interface FigureOptions {
  /** What the chart is, in a few words. */
  title: string;
  /** Height in pixels of chart and table alike. */
  height: number;
  /** The figures behind the chart; asked for only when the table is opened or renewed. */
  table: () => TableData;
  /** How many data the cursor can stand on. */
  count?: () => number;
  /** The datum at a position in words, and a mark on the chart. */
  describe?: (index: number) => string;
  mark?: (index: number | null) => void;
}

const MAX_ROWS = 500;
const LOWEST_TABLE = 132;

export class Figure {
  readonly root: HTMLElement;
  /** Where the chart is drawn. */
  readonly stage: HTMLElement;
  private readonly line: HTMLElement;
  private readonly holder: HTMLElement;
  private readonly toggle: HTMLButtonElement;
  private readonly extra: HTMLElement;
  private index: number | null = null;
  private tableShown = false;

  constructor(
    private readonly ctx: Context,
    private readonly options: FigureOptions
  ) {
    const trans = ctx.trans;
    const id = uid('figure');
    this.stage = h('div', {
      class: 'autoglm-Figure-stage',
      role: 'application',
      'aria-roledescription': trans.__('chart'),
      'aria-label': options.title,
      tabindex: 0,
      onkeydown: (event: KeyboardEvent) => this.onKey(event),
      onblur: () => this.move(null)
    });
    this.holder = h('div', { class: 'autoglm-Figure-table', id, tabindex: 0, role: 'region', 'aria-label': options.title });
    this.holder.hidden = true;
    this.line = h('div', { class: 'autoglm-Figure-line' });
    this.extra = h('div', { class: 'autoglm-Figure-extra' });
    this.toggle = h(
      'button',
      {
        type: 'button',
        class: 'autoglm-Link',
        'aria-pressed': 'false',
        'aria-controls': id,
        onclick: () => this.setTable(!this.tableShown)
      },
      trans.__('Table')
    );
    setAttribute(this.toggle, 'title', trans.__('Show the figures behind the chart as a table'));
    this.stage.style.height = this.holder.style.height = `${options.height}px`;
    this.root = h(
      'div',
      { class: 'autoglm-Figure', role: 'group', 'aria-label': options.title },
      this.stage,
      this.holder,
      h('div', { class: 'autoglm-Figure-foot' }, this.extra, this.line, this.toggle)
    );
    this.stage.style.position = 'relative';
  }

  /** Put something (a legend, a hint) at the left end of the line below the chart. */
  setExtra(...nodes: Node[]): void {
    this.extra.replaceChildren(...nodes);
  }

  /** The chart in a sentence, for screen readers. */
  setSummary(text: string): void {
    setAttribute(this.stage, 'aria-label', `${this.options.title}. ${text}`);
  }

  /** Show a fact under the chart, for example what the pointer is over. */
  setLine(text: string): void {
    setText(this.line, text);
  }

  /** Give chart and table another height, where the number of rows decides it. */
  setHeight(pixels: number): void {
    this.stage.style.height = `${pixels}px`;
    this.holder.style.height = `${Math.max(pixels, LOWEST_TABLE)}px`;
  }

  /** Draw the table anew if it is open. */
  refresh(): void {
    if (this.tableShown) {
      this.drawTable();
    }
  }

  private setTable(shown: boolean): void {
    this.tableShown = shown;
    setAttribute(this.toggle, 'aria-pressed', String(shown));
    if (shown) {
      this.drawTable();
    } else {
      clear(this.holder);
    }
    setHidden(this.stage, shown);
    setHidden(this.holder, !shown);
  }

  private drawTable(): void {
    const trans = this.ctx.trans;
    const data = this.options.table();
    const rows = data.rows.slice(0, MAX_ROWS);
    const caption =
      rows.length < data.rows.length
        ? `${data.caption} ${trans.__('The first %1 of %2 rows.', rows.length, data.rows.length)}`
        : data.caption;
    const top = this.holder.scrollTop;
    this.holder.replaceChildren(table(caption, data.heads, rows));
    this.holder.scrollTop = top;
  }

  private onKey(event: KeyboardEvent): void {
    const count = this.options.count?.() ?? 0;
    if (!count || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const page = Math.max(1, Math.round(count / 10));
    const from = this.index ?? -1;
    const targets: Record<string, number | null> = {
      ArrowRight: from + 1,
      ArrowLeft: this.index === null ? count - 1 : from - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: count - 1,
      Escape: null
    };
    if (!(event.key in targets)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    const target = targets[event.key];
    this.move(target === null ? null : Math.min(count - 1, Math.max(0, target)));
    if (this.index !== null && this.options.describe) {
      this.ctx.announce(this.options.describe(this.index));
    }
  }

  private move(index: number | null): void {
    if (index === this.index) {
      return;
    }
    this.index = index;
    this.options.mark?.(index);
    this.setLine(index === null ? '' : (this.options.describe?.(index) ?? ''));
  }
}

/** A figure below its title. */
export function titled(figure: Figure): HTMLElement {
  const title = figure.root.getAttribute('aria-label') ?? '';
  return h('div', { class: 'autoglm-Titled' }, h('div', { class: 'autoglm-Title' }, title), figure.root);
}
