/** The notes of the team, and a line to write one on the study as a whole. */

import type { Context, Panel } from './context';
import { h, setAttribute } from './dom';
import { icon } from './icons';
import type { Note } from './source';
import { Story } from './story';
import { clean, clock } from './words';

export class NotesPanel implements Panel {
  readonly root: HTMLElement;
  private readonly list = h('ul', { class: 'autoglm-Notes-list' });
  private readonly form: HTMLElement;
  private readonly input: HTMLInputElement;
  private readonly kind: HTMLSelectElement;
  private key = '';

  constructor(private readonly ctx: Context) {
    const { trans } = ctx;
    this.input = h('input', {
      type: 'text',
      class: 'autoglm-Input',
      maxlength: 10000,
      placeholder: trans.__('A note on the study'),
      'aria-label': trans.__('A note on the study')
    });
    this.kind = h(
      'select',
      { class: 'autoglm-Input', 'aria-label': trans.__('Kind of note') },
      h('option', { value: 'comment' }, trans.__('comment')),
      h('option', { value: 'tag' }, trans.__('tag'))
    );
    this.form = h(
      'form',
      {
        class: 'autoglm-Bar',
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          this.save();
        }
      },
      this.kind,
      this.input,
      h('button', { type: 'submit', class: 'autoglm-Button' }, trans.__('Save'))
    );
    this.root = h('div', { class: 'autoglm-Panel autoglm-Notes' }, this.form, this.list);
  }

  update(): void {
    const { trans } = this.ctx;
    const head = this.ctx.source.head();
    const notes = (head.notes ?? []).filter(note => note.kind !== 'star');
    this.form.hidden = !this.ctx.can;
    const key = `${this.ctx.can}${JSON.stringify(notes)}`;
    if (key === this.key) {
      return;
    }
    this.key = key;
    const story = new Story(head, trans);
    if (!notes.length) {
      this.list.replaceChildren(h('li', { class: 'autoglm-Empty' }, trans.__('No notes.')));
      return;
    }
    this.list.replaceChildren(...[...notes].reverse().map(note => this.item(note, story)));
  }

  private item(note: Note, story: Story): HTMLElement {
    const { trans } = this.ctx;
    const lead = note.kind === 'tag' ? '# ' : '';
    const by = note.author ? trans.__('%1, %2', clean(note.author, 60), clock(note.created_at)) : clock(note.created_at);
    const item = h(
      'li',
      { class: 'autoglm-Note' },
      h('span', { class: 'autoglm-Note-on' }, story.noteOn(note)),
      h('span', { class: 'autoglm-Note-text' }, lead + clean(note.text, 10000, true)),
      h('span', { class: 'autoglm-Quiet autoglm-Note-by' }, by)
    );
    if (this.ctx.can && this.ctx.source.removeNote) {
      const remove = h('button', { type: 'button', class: 'autoglm-Icon' }, icon('remove'));
      const label = trans.__('Remove this note on %1', story.noteOn(note));
      setAttribute(remove, 'aria-label', label);
      setAttribute(remove, 'title', label);
      remove.addEventListener('click', () => {
        remove.disabled = true;
        this.ctx.attempt(async () => {
          await this.ctx.source.removeNote?.(note.id);
          this.ctx.announce(trans.__('Note removed'));
        });
      });
      item.append(remove);
    }
    return item;
  }

  private save(): void {
    const text = this.input.value.trim();
    if (!text) {
      this.input.focus();
      return;
    }
    const kind = this.kind.value === 'tag' ? 'tag' : 'comment';
    this.ctx.attempt(async () => {
      await this.ctx.source.note({ trial: null, kind, text });
      this.input.value = '';
      this.ctx.announce(this.ctx.trans.__('Note saved'));
    });
  }
}
