/** One row of the trials table, and how rows come into the page. */

import type { Context } from './context';
import { h, setAttribute } from './dom';
import type { Trial } from './source';
import type { Column } from './trialColumns';
import { trialTools, type TrialActs } from './trialTools';
import { TRIAL_MARKS, trialStateName } from './words';

/** Height of a row in pixels, as in card.css. */
export const ROW = 28;

export interface RowOptions {
  ctx: Context;
  focused: boolean;
  best: boolean;
  acts: TrialActs;
  choose(): void;
}

/** The row at a place of the list; a trial that has not been loaded yet is an ellipsis. */
export function trialRow(index: number, trial: Trial | undefined, columns: readonly Column[], options: RowOptions): HTMLElement {
  const { ctx, focused, best, acts, choose } = options;
  const row = h('tr', {
    class: best ? 'autoglm-Row autoglm-is-best-row' : 'autoglm-Row',
    'aria-rowindex': index + 2,
    'data-index': index,
    tabindex: focused ? 0 : -1,
    onfocus: choose,
    onclick: choose
  });
  if (!trial) {
    row.append(h('td', { colspan: columns.length + 1, class: 'autoglm-Quiet' }, '…'));
    return row;
  }
  setAttribute(row, 'data-trial', trial.number);
  for (const column of columns) {
    const text = column.text(trial);
    const cell = h('td', { class: column.numeric ? 'autoglm-Numeric' : '', title: text.length > 14 ? text : null });
    if (column.key === 'state') {
      const sign = TRIAL_MARKS[trial.state] ?? '·';
      cell.append(
        h('span', { class: `autoglm-sign autoglm-is-${trial.state}`, 'aria-hidden': 'true' }, sign),
        ` ${trialStateName(trial.state, ctx.trans)}`
      );
    } else {
      cell.append(text);
    }
    row.append(cell);
  }
  row.append(h('td', { class: 'autoglm-Tools' }, ...trialTools(trial, focused, ctx, acts)));
  return row;
}

/** Stands for rows that are not in view. */
export function spacer(rows: number): HTMLElement {
  const row = h('tr', { 'aria-hidden': 'true', class: 'autoglm-Spacer' });
  row.style.height = `${rows * ROW}px`;
  return row;
}

/** Make `rows` the children of `body`: single ones in place, all of them where the view has moved. */
export function patch(body: HTMLElement, rows: readonly HTMLElement[]): void {
  const there = [...body.children];
  const moved = rows.some((row, i) => row.parentElement === body && there[i] !== row);
  if (there.length !== rows.length || moved) {
    body.replaceChildren(...rows);
    return;
  }
  rows.forEach((row, i) => {
    const alike = row.className === 'autoglm-Spacer' && there[i].isEqualNode(row);
    if (there[i] !== row && !alike) {
      there[i].replaceWith(row);
    }
  });
}
