/**
 * The trials of a study as one long table, of which only the rows in view exist in the page.
 *
 * Rows have a fixed height and columns fixed widths, so nothing moves while one reads; new trials
 * are announced in a line and appear where they belong when they are asked for. The arrow keys walk
 * over rows, S stars, N notes, T tags, E edits a copy, Delete stops; the buttons of the row that has the
 * focus can be reached with Tab.
 */

import type { Context, Panel } from './context';
import { Detail } from './detail';
import { h, setAttribute, setText } from './dom';
import type { Trial } from './source';
import { Story } from './story';
import { trialColumns, type Column } from './trialColumns';
import { TrialList } from './trialList';
import { patch, ROW, spacer, trialRow } from './trialRow';
import type { TrialActs } from './trialTools';
import { clean } from './words';

const OVERSCAN = 6;
const MAX_CONFIG = 8;

export interface TrialsOptions {
  /** Open the editor with a copy of a trial. */
  edit(trial: Trial): void;
}

export class TrialsPanel implements Panel {
  readonly root: HTMLElement;
  readonly list: TrialList;
  private columns: Column[] = [];
  private columnKey = '';
  private readonly scroller: HTMLElement;
  private readonly table: HTMLTableElement;
  private readonly head: HTMLTableRowElement;
  private readonly body: HTMLTableSectionElement;
  private readonly caption: HTMLElement;
  private readonly info: HTMLElement;
  private readonly filter: HTMLInputElement;
  private readonly detail: Detail;
  private focused = 0;
  private drawn: [number, number] = [0, 0];
  private frame = 0;
  private filterTimer = 0;
  private loadedAt = -1;
  private story: Story;
  private readonly observer: ResizeObserver;
  private drawnWhole = false;
  private readonly kept = new Map<number, { key: string; row: HTMLElement }>();
  private readonly acts: TrialActs;

  constructor(
    private readonly ctx: Context,
    story: Story,
    private readonly options: TrialsOptions
  ) {
    const trans = ctx.trans;
    this.story = story;
    this.acts = {
      star: trial => this.star(trial),
      note: trial => this.write(trial, 'comment'),
      tag: trial => this.write(trial, 'tag'),
      edit: trial => this.options.edit(trial),
      stop: trial => this.stop(trial)
    };
    this.list = new TrialList(
      ctx.source,
      () => {
        this.loadedAt = ctx.source.head().trials_total;
        this.draw(true);
      },
      error => setText(this.info, clean((error as Error)?.message ?? error, 200))
    );
    this.filter = h('input', {
      type: 'search',
      class: 'autoglm-Input',
      placeholder: trans.__('Filter: pruned, rank>=16, is:starred'),
      'aria-label': trans.__('Filter trials'),
      oninput: () => {
        window.clearTimeout(this.filterTimer);
        this.filterTimer = window.setTimeout(() => {
          this.focused = 0;
          this.scroller.scrollTop = 0;
          this.list.ask({ filter: this.filter.value });
        }, 200);
      }
    });
    this.info = h('span', { class: 'autoglm-Quiet', role: 'note' });
    this.caption = h('caption', { class: 'autoglm-Hidden' });
    this.head = h('tr');
    this.body = h('tbody', { onkeydown: (event: KeyboardEvent) => this.onKey(event) });
    this.table = h(
      'table',
      { class: 'autoglm-Trials', 'data-testid': 'autoglm-trials' },
      this.caption,
      h('thead', {}, this.head),
      this.body
    );
    this.scroller = h('div', { class: 'autoglm-Trials-scroll', onscroll: () => this.schedule() }, this.table);
    this.detail = new Detail(ctx);
    this.root = h(
      'div',
      { class: 'autoglm-Panel autoglm-TrialsPanel' },
      h('div', { class: 'autoglm-Bar' }, this.filter, this.info),
      this.scroller,
      this.detail.root
    );
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.scroller);
    this.setColumns();
  }

  update(): void {
    const head = this.ctx.source.head();
    this.story = new Story(head, this.ctx.trans);
    this.setColumns();
    if (this.loadedAt < 0) {
      this.loadedAt = 0;
      this.list.reload();
      return;
    }
    const fresh = head.trials ?? [];
    const touched = this.list.merge(fresh);
    const atTop = this.scroller.scrollTop < ROW && !this.filter.value && !this.body.contains(document.activeElement);
    if (head.trials_total !== this.loadedAt && atTop) {
      this.list.reload();
    } else if (touched || head.trials_total !== this.loadedAt) {
      this.draw(touched);
    }
    this.detail.update(this.story);
  }

  /** Trials changed that are perhaps not in the head: show them where they are kept. */
  merge(trials: readonly Trial[]): void {
    if (this.list.merge(trials)) {
      this.draw(true);
    }
  }

  /** Ask for what is in view again. */
  refresh(): void {
    this.list.reload(Math.floor(this.scroller.scrollTop / ROW));
  }

  dispose(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    window.clearTimeout(this.filterTimer);
  }

  // -- columns ---------------------------------------------------------------------------------

  private setColumns(): void {
    const { trans } = this.ctx;
    const story = this.story;
    const known = story.searched.length ? story.searched : Object.keys(story.head.headline?.best_config ?? {});
    const names = known.slice(0, MAX_CONFIG);
    const key = JSON.stringify([names, story.objectives, this.ctx.can]);
    if (key === this.columnKey) {
      return;
    }
    this.columnKey = key;
    this.columns = trialColumns(story, names, trans);
    const tools = 40 + (this.ctx.can ? 96 : 0);
    this.table.style.minWidth = `${this.columns.reduce((sum, c) => sum + c.width, tools)}px`;
    this.head.replaceChildren(
      ...this.columns.map(column => this.headCell(column)),
      h('th', { scope: 'col', class: 'autoglm-Tools' }, h('span', { class: 'autoglm-Hidden' }, trans.__('Actions')))
    );
    const cells = [...this.head.children] as HTMLElement[];
    cells.forEach((cell, i) => (cell.style.width = `${this.columns[i]?.width ?? tools}px`));
    this.drawn = [0, 0];
    this.draw(true);
  }

  private headCell(column: Column): HTMLElement {
    const cell = h('th', { scope: 'col', class: column.numeric ? 'autoglm-Numeric' : '' });
    if (!column.sort) {
      cell.append(column.title);
      return cell;
    }
    cell.append(
      h(
        'button',
        { type: 'button', class: 'autoglm-Sort', 'data-sort': column.sort, onclick: () => this.sortBy(column) },
        column.title,
        h('span', { class: 'autoglm-Arrow', 'aria-hidden': 'true' })
      )
    );
    return cell;
  }

  private sortBy(column: Column): void {
    const first = column.numeric && column.sort === 'value' && !this.story.maximize ? 'asc' : column.numeric ? 'desc' : 'asc';
    const same = this.list.sort === column.sort;
    const order = same ? (this.list.order === 'asc' ? 'desc' : 'asc') : first;
    this.focused = 0;
    this.scroller.scrollTop = 0;
    this.list.ask({ sort: column.sort, order });
    const { trans } = this.ctx;
    this.ctx.announce(
      order === 'asc' ? trans.__('Sorted by %1, ascending', column.title) : trans.__('Sorted by %1, descending', column.title)
    );
  }

  // -- rows ------------------------------------------------------------------------------------

  private schedule(): void {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw(false);
      });
    }
  }

  private draw(force: boolean): void {
    const { trans } = this.ctx;
    const total = this.list.total;
    const height = this.scroller.clientHeight || 300;
    const top = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - OVERSCAN);
    const bottom = Math.min(total, Math.ceil((this.scroller.scrollTop + height) / ROW) + OVERSCAN);
    this.list.ensure(top, bottom);
    if (!force && this.drawn[0] === top && this.drawn[1] === bottom && this.drawnWhole) {
      return;
    }
    this.drawn = [top, bottom];
    this.drawnWhole = true;
    const active = document.activeElement;
    const focusedInside = active instanceof HTMLElement && this.body.contains(active);
    const tool = focusedInside ? active.getAttribute('data-tool') : null;
    const rows: HTMLElement[] = [];
    if (top > 0) {
      rows.push(spacer(top));
    }
    for (let i = top; i < bottom; i++) {
      const trial = this.list.at(i);
      this.drawnWhole = this.drawnWhole && trial !== undefined;
      rows.push(this.row(i, trial));
    }
    if (bottom < total) {
      rows.push(spacer(total - bottom));
    }
    patch(this.body, rows);
    if (focusedInside) {
      const row = this.rowElement(this.focused);
      const again = tool ? row?.querySelector<HTMLElement>(`[data-tool="${tool}"]`) : row;
      (again ?? row)?.focus({ preventScroll: true });
    }
    this.heads();
    setAttribute(this.table, 'aria-rowcount', total + 1);
    const all = this.ctx.source.head().trials_total ?? total;
    const fresh = this.loadedAt >= 0 ? all - this.loadedAt : 0;
    const shown = this.list.filter
      ? trans.__('%1 of %2 trials', total, all)
      : trans._n('%1 trial', '%1 trials', total);
    setText(this.info, fresh > 0 && !this.list.filter ? `${shown} · ${trans._n('%1 new above', '%1 new above', fresh)}` : shown);
    setText(this.caption, trans.__('Trials of study %1', this.story.name));
  }

  private heads(): void {
    const buttons = this.head.querySelectorAll<HTMLElement>('.autoglm-Sort');
    buttons.forEach(button => {
      const on = button.getAttribute('data-sort') === this.list.sort;
      const cell = button.parentElement as HTMLElement;
      setAttribute(cell, 'aria-sort', on ? (this.list.order === 'asc' ? 'ascending' : 'descending') : 'none');
      setText(button.lastElementChild as HTMLElement, on ? (this.list.order === 'asc' ? ' ▲' : ' ▼') : '');
    });
  }

  /** The row of a trial; the one that is there already where nothing of it changed. */
  private row(index: number, trial: Trial | undefined): HTMLElement {
    const best = trial?.number === this.story.head.headline?.best_trial;
    const key = `${this.columnKey}${index === this.focused}${best}${this.ctx.can}${JSON.stringify(trial)}`;
    const kept = this.kept.get(index);
    if (kept && kept.key === key) {
      return kept.row;
    }
    const row = trialRow(index, trial, this.columns, {
      ctx: this.ctx,
      focused: index === this.focused,
      best,
      acts: this.acts,
      choose: () => this.setFocus(index, trial)
    });
    this.kept.set(index, { key, row });
    if (this.kept.size > 400) {
      this.kept.clear();
    }
    return row;
  }

  private setFocus(index: number, trial: Trial | undefined): void {
    if (index !== this.focused) {
      this.kept.delete(this.focused);
      this.kept.delete(index);
      const before = this.rowElement(this.focused);
      before?.setAttribute('tabindex', '-1');
      before?.querySelectorAll('button').forEach(b => b.setAttribute('tabindex', '-1'));
      this.focused = index;
      const row = this.rowElement(index);
      row?.setAttribute('tabindex', '0');
      row?.querySelectorAll('button').forEach(b => b.setAttribute('tabindex', '0'));
    }
    if (trial) {
      this.detail.show(trial, this.story);
    }
  }

  private rowElement(index: number): HTMLElement | null {
    return this.body.querySelector<HTMLElement>(`tr[data-index="${index}"]`);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const moves: Record<string, number> = {
      ArrowDown: this.focused + 1,
      ArrowUp: this.focused - 1,
      PageDown: this.focused + page,
      PageUp: this.focused - page,
      Home: 0,
      End: this.list.total - 1
    };
    const trial = this.list.at(this.focused);
    if (event.key in moves) {
      this.goTo(Math.min(this.list.total - 1, Math.max(0, moves[event.key])));
    } else if (trial && this.ctx.can && ['s', 'n', 't', 'e', 'Delete'].includes(event.key)) {
      const act = { s: 'star', n: 'note', t: 'tag', e: 'edit', Delete: 'stop' }[event.key] as keyof TrialActs;
      if (act !== 'stop' || trial.state === 'running') {
        this.acts[act](trial);
      }
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private goTo(index: number): void {
    const top = index * ROW;
    const visible = this.scroller.clientHeight - 2 * ROW;
    if (top < this.scroller.scrollTop) {
      this.scroller.scrollTop = top;
    } else if (top > this.scroller.scrollTop + visible) {
      this.scroller.scrollTop = top - visible;
    }
    this.setFocus(index, this.list.at(index));
    this.draw(true);
    this.rowElement(index)?.focus({ preventScroll: true });
  }

  // -- what a person does ----------------------------------------------------------------------

  private star(trial: Trial): void {
    const { trans } = this.ctx;
    trial.starred = !trial.starred;
    this.draw(true);
    this.ctx.announce(trial.starred ? trans.__('Trial %1 starred', trial.number) : trans.__('Star of trial %1 removed', trial.number));
    this.ctx.attempt(() => this.ctx.source.note({ trial: trial.number, kind: 'star', text: trial.starred ? '1' : '' }));
  }

  private write(trial: Trial, kind: 'comment' | 'tag'): void {
    this.detail.show(trial, this.story);
    this.detail.write(kind);
  }

  private stop(trial: Trial): void {
    this.ctx.announce(this.ctx.trans.__('Ending trial %1', trial.number));
    this.ctx.attempt(() => this.ctx.source.control('stop_trial', { trial: trial.number }));
  }
}
