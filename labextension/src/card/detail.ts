/**
 * What is known of one trial, below the table: its whole configuration, why it was proposed, why it
 * ended, its tags and notes; and the line in which one is written. Its height never changes.
 */

import type { Context } from './context';
import { h, setAttribute, setHidden, setText } from './dom';
import type { Note, Trial } from './source';
import { Story } from './story';
import { TagList, tagsOn, type Tag } from './tags';
import { clean, configLine, score } from './words';

export class Detail {
  readonly root: HTMLElement;
  private readonly first = h('div', { class: 'autoglm-Line' });
  private readonly second = h('div', { class: 'autoglm-Line autoglm-Quiet' });
  private readonly tags = new TagList();
  private readonly said = h('span', { class: 'autoglm-Line' });
  private readonly third = h('div', { class: 'autoglm-Detail-notes' }, this.tags.root, this.said);
  private readonly form: HTMLFormElement;
  private readonly input: HTMLInputElement;
  private trial: Trial | null = null;
  private kind: 'comment' | 'tag' = 'comment';
  private back: HTMLElement | null = null;

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.input = h('input', {
      type: 'text',
      class: 'autoglm-Input',
      'data-testid': 'autoglm-note-input',
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
    const config = configLine(trial.config ?? {}, [], trans);
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
    const notes = story.head.notes ?? [];
    setText(this.said, this.comments(notes, trial.number));
    setAttribute(this.said, 'title', this.said.textContent || null);
    const { source } = this.ctx;
    this.tags.update(tagsOn(notes, trial.number), {
      label: trans.__('Tags of trial %1', trial.number),
      removeLabel: tag => trans.__('Remove the tag %1 from trial %2', tag, trial.number),
      remove: this.ctx.can && source.removeNote ? tag => this.untag(tag, trial.number) : null,
      after: () => this.root.parentElement?.querySelector<HTMLElement>('tr[tabindex="0"]')
    });
  }

  /** Notes may have come in since. */
  update(story: Story): void {
    if (this.trial) {
      const fresh = (story.head.trials ?? []).find(t => t.number === this.trial?.number);
      this.show(fresh ?? this.trial, story);
    }
  }

  /** Open the line for a note or a tag on the trial shown. */
  write(kind: 'comment' | 'tag'): void {
    if (!this.trial) {
      return;
    }
    this.kind = kind;
    this.back = document.activeElement as HTMLElement | null;
    const { trans } = this.ctx;
    const n = this.trial.number;
    const label = kind === 'tag' ? trans.__('New tag on trial %1', n) : trans.__('Note on trial %1', n);
    this.input.maxLength = kind === 'tag' ? 60 : 10_000;
    this.input.setAttribute('aria-label', label);
    this.input.placeholder = label;
    this.input.value = '';
    setHidden(this.third, true);
    setHidden(this.form, false);
    this.input.focus();
  }

  private save(): void {
    const text = this.input.value.trim();
    const { trial, kind } = this;
    this.close();
    if (text && trial) {
      const { trans } = this.ctx;
      const n = trial.number;
      if (kind === 'comment') {
        setText(this.said, text);
      }
      this.ctx.attempt(async () => {
        await this.ctx.source.note({ trial: n, kind, text });
        this.ctx.announce(kind === 'tag' ? trans.__('Trial %1 tagged', n) : trans.__('Note on trial %1 saved', n));
      });
    }
  }

  private close(): void {
    setHidden(this.form, true);
    setHidden(this.third, false);
    const row = this.root.parentElement?.querySelector<HTMLElement>('tr[tabindex="0"]');
    (this.back?.isConnected ? this.back : row)?.focus(); // the row may have been drawn anew
    this.back = null;
  }

  private untag(tag: Tag, trial: number): void {
    const { trans, source } = this.ctx;
    this.ctx.attempt(async () => {
      for (const id of tag.ids) {
        await source.removeNote?.(id);
      }
      this.ctx.announce(trans.__('Tag %1 removed from trial %2', tag.text, trial));
    });
  }

  private comments(notes: readonly Note[], trial: number): string {
    return notes
      .filter(n => n.trial === trial && n.kind === 'comment')
      .map(n => `${clean(n.text, 300)}${n.author ? ` (${clean(n.author, 40)})` : ''}`)
      .join(' · ');
  }
}
