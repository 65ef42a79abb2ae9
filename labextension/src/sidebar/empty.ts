/** What the list shows before there is a study: one cell that works, and a button that inserts it. */

import { h } from '../card/dom';
import type { Trans } from '../card/source';
import { EXAMPLE_CELL } from '../examples';

export function emptyState(trans: Trans, insert: () => void): HTMLElement {
  return h(
    'div',
    { class: 'jp-autoglm-empty', 'data-testid': 'autoglm-empty' },
    h('p', {}, trans.__('No study yet. A study is a search for the best way to tune a model on your data.')),
    h('p', {}, trans.__('Run a cell like this one; it works in the background while you go on:')),
    h('pre', {}, ...words(EXAMPLE_CELL)),
    h(
      'button',
      { type: 'button', class: 'jp-Button jp-mod-styled jp-mod-accept', 'data-testid': 'autoglm-insert', onclick: insert },
      trans.__('Insert')
    )
  );
}

/** The cell in pieces that a narrow sidebar does not break, or `--trials` would be cut after its first dash. */
function words(cell: string): (HTMLElement | string)[] {
  return cell.split(/(\s+)/).map((part, i) => (i % 2 ? part : h('span', { class: 'jp-autoglm-word' }, part)));
}
