/**
 * What is known of one trial, below the table: its whole configuration, why it was proposed, why it
 * ended, its notes; and the line in which a note is written. Its height never changes.
 */

import type { Context } from './context';
import { h, setHidden, setText } from './dom';
import type { Note, Trial } from './source';
import { Story } from './story';
import { clean, configLine, score } from './words';

export class Detail {
  readonly root: HTMLElement;
  private readonly first = h('div', { class: 'autoglm-Line' });
  private readonly second = h('div', { class: 'autoglm-Line autoglm-Quiet' });
  private readonly third = h('div', { class: 'autoglm-Line' });
  private readonly form: HTMLFormElement;
  private readonly input: HTMLInputElement;
  private trial: Trial | null = null;
  private back: HTMLElement | null = null;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.input = h('input', {
      type: 'text',
      class: 'autoglm-Input',
      maxlength: 10000,
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          this.close();
        }
      }
    });
    this.form = h(
      'form',
      {
        class: 'autoglm-Bar',
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          this.save();
        }
      },
      this.input,
      h('button', { type: 'submit', class: 'autoglm-Button' }, trans.__('Save')),
      h('button', { type: 'button', class: 'autoglm-Button', onclick: () => this.close() }, trans.__('Cancel'))
    );
    this.form.hidden = true;
    setText(this.first, trans.__('Choose a row to read all of a trial.'));
    this.root = h('div', { class: 'autoglm-Detail' }, this.first, this.second, this.third, this.form);
  }

  /** Show a trial. */
  show(trial: Trial, story: Story): void {
    this.trial = trial;
    const { trans } = this.ctx;
    const config = configLine(trial.config ?? {});
    setText(this.first, `#${trial.number} · ${config}`);
    this.first.title = config;
    const parts = [
      trial.proposed_by ? trans.__('proposed by: %1', clean(trial.proposed_by, 120)) : '',
      trial.because ? trans.__('ended: %1', clean(trial.because, 300)) : '',
      trial.attempts > 1 ? trans.__('attempt %1', trial.attempts) : '',
      ...Object.entries(trial.metrics ?? {})
        .filter(([, value]) => typeof value === 'number')
        .slice(0, 6)
        .map(([name, value]) => `${clean(name, 30)} ${score(value)}`)
    ];
    setText(this.second, parts.filter(Boolean).join(' · '));
    this.second.title = this.second.textContent ?? '';
    setText(this.third, this.notes(story.head.notes ?? [], trial.number));
    this.third.title = this.third.textContent ?? '';
  }

  /** Notes may have come in since. */
  update(story: Story): void {
    if (this.trial) {
      const fresh = (story.head.trials ?? []).find(t => t.number === this.trial?.number);
      this.show(fresh ?? this.trial, story);
    }
  }

  /** Open the line for a note on the trial shown. */
  write(): void {
    if (!this.trial) {
      return;
    }
    this.back = document.activeElement as HTMLElement | null;
    const label = this.ctx.trans.__('Note on trial %1', this.trial.number);
    this.input.setAttribute('aria-label', label);
    this.input.placeholder = label;
    this.input.value = '';
    setHidden(this.third, true);
    setHidden(this.form, false);
    this.input.focus();
  }

  private save(): void {
    const text = this.input.value.trim();
    const trial = this.trial;
    this.close();
    if (text && trial) {
      const { trans } = this.ctx;
      setText(this.third, text);
      this.ctx.attempt(async () => {
        await this.ctx.source.note({ trial: trial.number, kind: 'comment', text });
        this.ctx.announce(trans.__('Note on trial %1 saved', trial.number));
      });
    }
  }

  private close(): void {
    setHidden(this.form, true);
    setHidden(this.third, false);
    this.back?.focus();
    this.back = null;
  }

  private notes(notes: readonly Note[], trial: number): string {
    return notes
      .filter(n => n.trial === trial && n.kind !== 'star')
      .map(n => `${n.kind === 'tag' ? '# ' : ''}${clean(n.text, 300)}${n.author ? ` (${clean(n.author, 40)})` : ''}`)
      .join(' · ');
  }
}
