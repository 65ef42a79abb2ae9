/** The line in the status bar: how many studies run, and the best of the youngest one. */

import { Widget } from '@lumino/widgets';

import { h, setAttribute, setText } from './card/dom';
import type { Trans } from './card/source';
import { clean, finite, metricName, score } from './card/words';
import { studyIcon } from './icon';
import { atWork, Studies } from './studies';

export class StatusItem extends Widget {
  constructor(
    private readonly studies: Studies,
    private readonly trans: Trans,
    open: () => void
  ) {
    super();
    this.addClass('jp-autoglm-status');
    this.button = h(
      'button',
      { type: 'button', class: 'jp-autoglm-status-button', 'data-testid': 'autoglm-status-item', onclick: open },
      studyIcon.element({ tag: 'span', width: '14px', height: '14px' }),
      this.text
    );
    this.node.append(this.button);
    studies.changed.connect(this.draw, this);
    this.draw();
  }

  /** Whether there is anything to say. */
  get speaks(): boolean {
    return this.studies.all.length > 0;
  }

  override dispose(): void {
    this.studies.changed.disconnect(this.draw, this);
    super.dispose();
  }

  private draw(): void {
    const { trans } = this;
    const running = this.studies.all.filter(atWork).sort((a, b) => b.created_at - a.created_at);
    const count = trans._n('%1 study running', '%1 studies running', running.length);
    const first = running[0];
    const best = first && finite(first.best_value) !== null ? score(first.best_value) : '';
    const named = first ? [clean(first.name, 30), best].filter(Boolean).join(' ') : '';
    setText(this.text, running.length ? `${running.length} · ${named}` : '0');
    const told = best ? trans.__('%1: best %2 %3', clean(first.name, 60), best, metricName(first.metric, trans)) : '';
    const label = [count, told, trans.__('Open the list of studies')].filter(Boolean).join('. ');
    setAttribute(this.button, 'aria-label', `${this.text.textContent}. ${label}`);
    setAttribute(this.button, 'title', label);
    setAttribute(this.button, 'data-running', running.length);
  }

  private readonly text = h('span', { class: 'jp-autoglm-status-text' });
  private readonly button: HTMLButtonElement;
}
