/** The head of a card: what is tuned, how it stands, the answer so far, and the buttons that matter. */

import type { Context } from './context';
import { h, setAttribute, setHidden, setText } from './dom';
import type { Action } from './source';
import { Story } from './story';
import { stateName, STATE_MARKS } from './words';

export class Masthead {
  readonly root: HTMLElement;
  private readonly name = h('strong', { class: 'autoglm-Name' });
  private readonly subject = h('span', { class: 'autoglm-Line autoglm-Quiet autoglm-Subject' });
  private readonly mark = h('span', { 'aria-hidden': 'true', class: 'autoglm-sign' });
  private readonly word = h('span');
  private readonly state: HTMLElement;
  private readonly pause: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private readonly best = h('strong', { class: 'autoglm-Best' });
  private readonly gain = h('span', { class: 'autoglm-Gain' });
  private readonly count = h('span', { class: 'autoglm-Count' });
  private readonly config = h('div', { class: 'autoglm-Line' });
  private readonly left = h('span', { class: 'autoglm-Quiet autoglm-Left' });
  private readonly bar = h('progress', { class: 'autoglm-Total' });
  private asked: { sentence: string; state: string } | null = null;
  private story: Story | null = null;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.pause = h('button', { type: 'button', class: 'autoglm-Button', 'data-testid': 'autoglm-pause', onclick: () => this.pauseOrResume() });
    this.stop = h(
      'button',
      {
        type: 'button',
        class: 'autoglm-Button',
        'data-testid': 'autoglm-stop',
        title: trans.__('End the study; finished trials are kept'),
        onclick: () => this.ask('stop', trans.__('Stopping'))
      },
      trans.__('Stop')
    );
    this.state = h('span', { class: 'autoglm-State', 'data-testid': 'autoglm-state' }, this.mark, ' ', this.word);
    this.root = h(
      'header',
      { class: 'autoglm-Masthead' },
      h('div', { class: 'autoglm-Top' }, h('span', { class: 'autoglm-Titles' }, this.name, this.subject), this.state, this.pause, this.stop),
      h(
        'div',
        { class: 'autoglm-Headline', 'data-testid': 'autoglm-headline' },
        h('div', { class: 'autoglm-Two' }, h('span', { class: 'autoglm-Line' }, this.best, ' ', this.gain), this.count),
        h('div', { class: 'autoglm-Two' }, this.config, this.left)
      ),
      this.bar
    );
  }

  update(story: Story): void {
    const { trans, can } = this.ctx;
    this.story = story;
    if (this.asked && this.asked.state !== story.state) {
      this.asked = null;
    }
    setText(this.name, story.name);
    setText(this.subject, story.subject ? ` · ${story.subject}` : '');
    setAttribute(this.subject, 'title', story.subject);
    setText(this.mark, STATE_MARKS[story.state] ?? '·');
    setText(this.word, stateName(story.state, trans));
    setAttribute(this.state, 'data-state', story.state);
    setText(this.best, story.best);
    setText(this.gain, story.gain);
    setText(this.count, story.count);
    const second = story.config || story.reason || ' ';
    const over = ['finished', 'stopped', 'failed'].includes(story.state);
    setText(this.config, story.advice && over ? `${second}\n${story.advice}` : second);
    setAttribute(this.config, 'title', this.config.textContent);
    this.config.classList.toggle('autoglm-is-two', Boolean(story.advice && over));
    setText(this.left, this.asked ? `${this.asked.sentence} …` : story.timeLeft);
    const { finished, total } = story.head.headline ?? {};
    setAttribute(this.bar, 'aria-label', trans.__('trials done'));
    this.bar.max = total || 1;
    this.bar.value = Math.min(finished ?? 0, total || 1);
    setHidden(this.bar, over || !total);
    // The server starts no worker: it can only ask one that waits.
    const resumable = story.resumable && (this.ctx.source.live !== 'server' || story.state === 'paused');
    const done = !story.active && !resumable;
    setText(this.pause, story.resumable ? trans.__('Resume') : trans.__('Pause'));
    setAttribute(this.pause, 'title', story.resumable ? trans.__('Go on where it stopped') : trans.__('Stand still after the present step; running trials keep their place'));
    setHidden(this.pause, !can || done);
    setHidden(this.stop, !can || done || story.state === 'stopped');
    this.pause.disabled = this.stop.disabled = this.asked !== null;
  }

  /** A request failed: the buttons can be used again. */
  refused(): void {
    this.asked = null;
    if (this.story) {
      this.update(this.story);
    }
  }

  private pauseOrResume(): void {
    const { trans } = this.ctx;
    if (this.story?.resumable) {
      this.ask('resume', trans.__('Resuming'));
    } else {
      this.ask('pause', trans.__('Pausing after the present step'));
    }
  }

  private ask(action: Action, sentence: string): void {
    if (!this.story || this.asked) {
      return;
    }
    this.asked = { sentence, state: this.story.state };
    this.ctx.announce(sentence);
    this.update(this.story);
    this.ctx.attempt(() => this.ctx.source.control(action));
  }
}
