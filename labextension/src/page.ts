/** A study's page in the main area: the card at the size of a page, fed by the server. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import { Api, StudyId } from './api';
import { StudyCard } from './card/card';
import { h } from './card/dom';
import type { Trans } from './card/source';
import { clean } from './card/words';
import { studyIcon } from './icon';
import { ServerSource } from './serverSource';

/** Shows a study, or a sentence and a button where that fails. */
export class StudyPage extends Widget {
  constructor(
    private readonly api: Api,
    readonly study: StudyId,
    private readonly trans: Trans,
    private readonly interval: () => number
  ) {
    super();
    this.addClass('jp-autoglm-page');
    this.node.dataset.testid = 'autoglm-page';
    this.ready = this.open();
  }

  /** Settles when the card, or the reason why there is none, is shown. */
  readonly ready: Promise<void>;

  override dispose(): void {
    if (!this.isDisposed) {
      this.card?.dispose();
      this.source?.dispose();
      super.dispose();
    }
  }

  private async open(): Promise<void> {
    try {
      const source = await ServerSource.open(this.api, this.study, {
        interval: this.interval(),
        visible: () => this.isVisible
      });
      if (this.isDisposed) {
        source.dispose();
        return;
      }
      this.source = source;
      const host = h('div', { class: 'jp-autoglm-page-card' });
      this.node.replaceChildren(host);
      this.card = new StudyCard(host, source, this.trans);
    } catch (error) {
      const again = h('button', { type: 'button', class: 'jp-autoglm-action' }, this.trans.__('Try again'));
      again.addEventListener('click', () => void this.open());
      const sentence = error instanceof Error ? error.message : String(error);
      this.node.replaceChildren(h('div', { class: 'jp-autoglm-fault', role: 'alert' }, h('p', {}, sentence), again));
    }
  }

  private card: StudyCard | null = null;
  private source: ServerSource | null = null;
}

/** The page as a tab of the main area. */
export function studyTab(page: StudyPage, trans: Trans): MainAreaWidget<StudyPage> {
  const tab = new MainAreaWidget({ content: page });
  const name = clean(page.study.name, 100);
  tab.id = `autoglm-study-${page.study.home}-${page.study.name}`;
  tab.title.label = name;
  tab.title.caption = trans.__('Study %1', name);
  tab.title.icon = studyIcon;
  tab.title.closable = true;
  tab.toolbar.hide();
  return tab;
}
