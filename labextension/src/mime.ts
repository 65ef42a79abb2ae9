/**
 * The record of a study in a notebook: the saved snapshot drawn as the card, which goes live again
 * when the study can be found: by the server's routes, then by the notebook's kernel; else a line
 * says when it was saved.
 *
 * While a live view stands below it, the record is one line. Once the study rests, a newer record
 * is written back into the notebook, since a page that was reloaded in mid-run no longer gets it
 * from the kernel.
 */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';

import type { StudyCard } from './card/card';
import type { Snapshot, StudySource, Trans } from './card/source';
import { besideLiveView, tidy } from './notebooks';
import { RenderedTransfer, TRANSFER_MIME } from './transferMime';
import { words } from './words';

export const STUDY_MIME = 'application/vnd.autoglm.study.v1+json';

const FOLDED_MS = 3000;
const RESTING = new Set(['finished', 'stopped', 'failed']);

class RenderedStudy extends Widget implements IRenderMime.IRenderer {
  constructor(options: IRenderMime.IRendererOptions) {
    super();
    this.mimeType = options.mimeType;
    this.trans = words(options.translator);
    this.addClass('autoglm-Record');
    this.node.dataset.testid = 'autoglm-record';
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const given = model.data[this.mimeType] as unknown;
    if (!isSnapshot(given)) {
      this.node.textContent = this.trans.__('This record cannot be read. A newer autoglm_nb may have written it.');
      return;
    }
    this.model = model;
    const folded = (given as Snapshot & { folded?: boolean }).folded === true && !RESTING.has(given.study.state);
    const key = JSON.stringify([given.study.name, given.study.identity, given.study.created_at]);
    if (key !== this.key) {
      this.drop();
      this.key = key;
    }
    this.snapshot = given;
    if (folded && !this.unfolded) {
      await this.fold(given);
    } else {
      await this.unfold();
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.drop();
      super.dispose();
    }
  }

  /** One line, until it is clear that no live view stands below, or it has gone. */
  private async fold(given: Snapshot): Promise<void> {
    const { Story } = await import('./card/story');
    const { h } = await import('./card/dom');
    const { stateWords } = await import('./card/words');
    if (this.isDisposed || this.card) {
      return;
    }
    const story = new Story(given, this.trans);
    const text = [stateWords(story.state, this.trans), `${story.best} ${story.gain}`.trim(), story.count].join(' · ');
    this.node.replaceChildren(
      h('div', { class: 'autoglm-Line1', 'data-testid': 'autoglm-folded' }, h('strong', {}, story.name), ` ${text}`)
    );
    this.watch();
  }

  private watch(): void {
    if (this.observer) {
      return;
    }
    const look = (): void => {
      const beside = besideLiveView(this.node);
      this.node.classList.toggle('autoglm-is-beside', beside); // the live view says the same
      if (beside) {
        window.clearTimeout(this.timer);
        this.timer = 0;
      } else if (!this.timer) {
        this.timer = window.setTimeout(() => {
          this.timer = 0;
          if (!this.isDisposed && !besideLiveView(this.node)) {
            this.unfolded = true;
            this.node.classList.remove('autoglm-is-beside');
            this.observer?.disconnect();
            this.observer = null;
            void this.unfold();
          }
        }, FOLDED_MS);
      }
    };
    this.observer = new MutationObserver(look);
    // The output area is an ancestor only once this renderer has been attached.
    window.setTimeout(() => {
      const area = this.node.closest('.jp-OutputArea');
      if (area && this.observer) {
        this.observer.observe(area, { childList: true, subtree: true });
      }
      look();
    }, 0);
  }

  private async unfold(): Promise<void> {
    const snapshot = this.snapshot;
    if (!snapshot || this.isDisposed) {
      return;
    }
    if (this.source && this.card) {
      return; // live already: it knows better than the record
    }
    const [{ StudyCard }, { SnapshotSource }] = await Promise.all([import('./card/card'), import('./card/snapshotSource')]);
    if (this.isDisposed || (this.source && this.card)) {
      return;
    }
    this.card?.dispose();
    this.node.replaceChildren();
    const refusal = this.trans.__('This is a saved record: its study cannot be reached from here.');
    this.card = new StudyCard(this.node, new SnapshotSource(snapshot, refusal), this.trans, this.savedLine(snapshot));
    // A view that is still loading gets the time that a folded record would give it.
    this.tidying = window.setTimeout(() => {
      if (!this.isDisposed && !besideLiveView(this.node)) {
        tidy(this.node);
      }
    }, FOLDED_MS);
    void this.revive(snapshot);
  }

  /** Look for the study; where it is found, the card follows it from now on. */
  private async revive(snapshot: Snapshot): Promise<void> {
    const { liveSource } = await import('./recordSources');
    const source = await liveSource(snapshot, this.node, () => this.isVisible && this.node.isConnected);
    if (!source) {
      return;
    }
    if (this.isDisposed || snapshot !== this.snapshot) {
      source.dispose?.();
      return;
    }
    const { StudyCard } = await import('./card/card');
    this.card?.dispose();
    this.node.replaceChildren();
    this.source = source;
    const line = source.live === 'kernel' ? this.trans.__('live, from the kernel') : this.trans.__('live, from the server');
    this.card = new StudyCard(this.node, source, this.trans, line);
    source.onChange(() => {
      const lost = source.live === 'none';
      this.card?.setFootnote(lost ? this.savedLine(snapshot) : line);
      void this.keep(source);
    });
    void this.keep(source);
  }

  /** Write the newer record of a study that rests back into the notebook, once. */
  private async keep(source: StudySource): Promise<void> {
    const state = source.head().study?.state;
    if (!this.model || !this.snapshot || !RESTING.has(state) || this.kept) {
      return;
    }
    this.kept = true;
    const { newerRecord } = await import('./recordSources');
    const bundle = await newerRecord(source, this.snapshot);
    if (bundle && !this.isDisposed) {
      this.model.setData({ data: { ...this.model.data, ...bundle } as never });
    }
  }

  private savedLine(snapshot: Snapshot): string {
    const counted = this.trans._n('%1 trial', '%1 trials', snapshot.headline?.finished ?? 0);
    return this.trans.__('snapshot of %1, %2: not live', snapshot.study.name, counted);
  }

  private drop(): void {
    window.clearTimeout(this.timer);
    window.clearTimeout(this.tidying);
    this.timer = 0;
    this.observer?.disconnect();
    this.observer = null;
    this.card?.dispose();
    this.source?.dispose?.();
    this.card = this.source = null;
    this.unfolded = this.kept = false;
  }

  private readonly mimeType: string;
  private readonly trans: Trans;
  private model: IRenderMime.IMimeModel | null = null;
  private snapshot: Snapshot | null = null;
  private key = '';
  private card: StudyCard | null = null;
  private source: StudySource | null = null;
  private observer: MutationObserver | null = null;
  private timer = 0;
  private tidying = 0;
  private unfolded = false;
  private kept = false;
}

function isSnapshot(value: unknown): value is Snapshot {
  const study = (value as Snapshot | null)?.study;
  return typeof study === 'object' && study !== null && typeof study.name === 'string';
}

const extension: IRenderMime.IExtension = {
  id: 'autoglm-nb:record',
  description: 'Draws the saved record of a study.',
  rendererFactory: {
    safe: true,
    mimeTypes: [STUDY_MIME],
    createRenderer: options => new RenderedStudy(options)
  },
  // Before text/html (rank 50) in trusted and untrusted notebooks alike.
  rank: 10,
  dataType: 'json'
};

const transfer: IRenderMime.IExtension = {
  id: 'autoglm-nb:transfer',
  description: 'Draws a comparison of transfer between domains.',
  rendererFactory: {
    safe: true,
    mimeTypes: [TRANSFER_MIME],
    createRenderer: options => new RenderedTransfer(options)
  },
  rank: 10,
  dataType: 'json'
};

export default [extension, transfer];
