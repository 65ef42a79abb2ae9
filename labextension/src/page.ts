/** A study's page in the main area: the card at the size of a page, fed by the server. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { Api, ApiError, StudyId } from './api';
import { StudyCard } from './card/card';
import { h } from './card/dom';
import type { Trans } from './card/source';
import { clean } from './card/words';
import { studyIcon } from './icon';
import { ServerSource } from './serverSource';

/** Pauses before a study that could not be opened is asked for again; a server that starts needs a moment. */
const AGAIN_MS = [2_000, 4_000, 8_000];

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

  /** What is shown again is asked for at once: it may have been hidden for hours. */
  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    if (this.source) {
      void this.source.refresh();
    } else if (!this.opening) {
      void this.open();
    }
  }

  /** Settles when the card, or the reason why there is none, is shown. */
  readonly ready: Promise<void>;

  override dispose(): void {
    if (!this.isDisposed) {
      window.clearTimeout(this.timer);
      this.card?.dispose();
      this.source?.dispose();
      super.dispose();
    }
  }

  private async open(tries = 0): Promise<void> {
    window.clearTimeout(this.timer);
    this.opening = true;
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
      if (this.isDisposed) {
        return;
      }
      const busy = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (busy && tries < AGAIN_MS.length) {
        this.timer = window.setTimeout(() => void this.open(tries + 1), AGAIN_MS[tries]);
      }
      const again = h('button', { type: 'button', class: 'jp-autoglm-action' }, this.trans.__('Try again'));
      again.addEventListener('click', () => void this.open());
      const sentence = error instanceof Error ? error.message : String(error);
      this.node.replaceChildren(h('div', { class: 'jp-autoglm-fault', role: 'alert' }, h('p', {}, sentence), again));
    } finally {
      this.opening = false;
    }
  }

  private card: StudyCard | null = null;
  private source: ServerSource | null = null;
  private opening = false;
  private timer = 0;
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
