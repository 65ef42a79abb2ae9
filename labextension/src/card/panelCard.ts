/**
 * One panel of a study's card alone, as a small card of its own: the trials that run, or the figures of the machine. For
 * a cell beside the one that tells everything (`%autotune attach NAME --panel resources`).
 */

import { Announcer, type Context, type Panel } from './context';
import { CurvesPanel } from './curves';
import { h, setAttribute, setText } from './dom';
import { resourceLine, ResourcesPanel } from './resources';
import { Running } from './running';
import type { StudySource, Trans } from './source';
import { Story } from './story';
import { clean, stateName, stateWords } from './words';

/** What a live view may show alone; `card` is everything (`PANELS` in notebook/lab_view.py). */
export type PanelName = 'progress' | 'resources';

/** Whether a panel of this name exists; anything else is drawn as the whole card. */
export function isPanel(name: unknown): name is PanelName {
  return name === 'progress' || name === 'resources';
}

/** The running trials above the learning curves. */
class ProgressPanel implements Panel {
  readonly root: HTMLElement;
  private readonly bar = h('progress', { class: 'autoglm-Total' });
  private readonly running: Running;
  private readonly curves: CurvesPanel;

  constructor(private readonly ctx: Context) {
    this.running = new Running(ctx, null);
    this.curves = new CurvesPanel(ctx);
    this.root = h('div', { class: 'autoglm-Panel' }, this.bar, this.running.root, this.curves.root);
  }

  update(): void {
    const { source, trans } = this.ctx;
    const story = new Story(source.head(), trans);
    const { finished, total } = story.head.headline ?? {};
    setAttribute(this.bar, 'aria-label', trans.__('trials done'));
    this.bar.max = total || 1;
    this.bar.value = Math.min(finished ?? 0, total || 1);
    this.bar.hidden = !total;
    this.running.update(story);
    this.curves.update();
  }

  dispose(): void {
    this.curves.dispose();
  }
}

export class PanelCard {
  readonly root: HTMLElement;
  private readonly panel: Panel;
  private readonly announcer: Announcer;
  private readonly name = h('strong', { class: 'autoglm-Name' });
  private readonly subject = h('span', { class: 'autoglm-Line autoglm-Quiet autoglm-Subject' });
  private readonly state = h('span', { class: 'autoglm-State', 'data-testid': 'autoglm-state' });
  private readonly line = h('div', { class: 'autoglm-Line', 'data-testid': 'autoglm-panel-line' });
  private readonly fault = h('div', { class: 'autoglm-Message autoglm-Line' });
  private readonly end: () => void;
  private said = '';

  constructor(
    host: HTMLElement,
    private readonly source: StudySource,
    private readonly trans: Trans,
    private readonly which: PanelName
  ) {
    const region = h('div', { class: 'autoglm-Hidden', role: 'status', 'aria-live': 'polite' });
    this.announcer = new Announcer(region);
    const ctx: Context = {
      source,
      trans,
      announce: text => this.announcer.say(text),
      attempt: action => void this.attempt(action),
      get can() {
        return source.live !== 'none';
      }
    };
    this.panel = which === 'progress' ? new ProgressPanel(ctx) : new ResourcesPanel(ctx);
    const title = which === 'progress' ? trans.__('Progress of the trials') : trans.__('Resources');
    this.root = h(
      'section',
      { class: 'autoglm-Card', 'data-testid': 'autoglm-panel', 'data-panel': which },
      h('header', { class: 'autoglm-Top' }, h('span', { class: 'autoglm-Titles' }, this.name, this.subject), this.state),
      this.line,
      h('div', { class: 'autoglm-Alone', role: 'group', 'aria-label': title }, this.panel.root),
      this.fault,
      region
    );
    host.append(this.root);
    this.end = source.onChange(() => this.update());
    this.update();
  }

  update(): void {
    const { trans, which } = this;
    const head = this.source.head();
    const story = new Story(head, trans);
    const title = which === 'progress' ? trans.__('Progress of the trials') : trans.__('Resources');
    setAttribute(this.root, 'aria-label', `${trans.__('Study %1', story.name)}: ${title}`);
    setAttribute(this.root, 'data-state', story.state);
    setText(this.name, story.name);
    setText(this.subject, ` · ${title}`);
    setText(this.state, stateWords(story.state, trans));
    setAttribute(this.state, 'data-state', story.state);
    const progress = [story.count, story.timeLeft, `${story.best} ${story.gain}`.trim()].filter(Boolean).join(' · ');
    setText(this.line, which === 'progress' ? progress : resourceLine(head.readings));
    this.panel.update();
    if (this.said && this.said !== story.state) {
      this.announcer.say(trans.__('Study %1 is now %2.', story.name, stateName(story.state, trans)));
    }
    this.said = story.state;
  }

  dispose(): void {
    this.end();
    this.announcer.dispose();
    this.panel.dispose?.();
    this.root.remove();
  }

  private async attempt(action: () => Promise<unknown>): Promise<void> {
    let told = '';
    try {
      await action();
    } catch (error) {
      told = this.trans.__('Error: %1', clean((error as Error)?.message ?? error, 400));
      this.announcer.say(told);
    }
    setText(this.fault, told);
    setAttribute(this.fault, 'data-level', told ? 'error' : null);
  }
}
