/**
 * Star, tags and comments of a study, below its row in the list: asked for when they are opened, and again when the
 * study has changed while they are open. Escape closes them.
 */

import type { Api, StudyLine } from '../api';
import { h, setAttribute, setHidden, setText, uid } from '../card/dom';
import { icon } from '../card/icons';
import type { NewNote, Note, Trans } from '../card/source';
import { TagList, tagsOn, type Tag } from '../card/tags';
import { clean, clock } from '../card/words';

/** Comments shown here; the page of the study has all of them. */
const MOST = 3;
const LONGEST_TAG = 60;

export interface NotesHost {
  readonly trans: Trans;
  readonly api: Api;
  /** Say something through the sidebar's one live region. */
  announce(text: string): void;
}

export class RowNotes {
  readonly root: HTMLElement;
  /** Opens and closes; stands among the row's buttons. */
  readonly toggle: HTMLButtonElement;

  constructor(
    private readonly host: NotesHost,
    private study: StudyLine
  ) {
    const { trans } = host;
    const id = uid('notes');
    this.toggle = h(
      'button',
      {
        type: 'button',
        class: 'jp-autoglm-action',
        'data-testid': 'autoglm-row-notes',
        'aria-expanded': 'false',
        'aria-controls': id,
        onclick: () => (this.root.hidden ? this.open() : this.close())
      },
      trans.__('Notes')
    );
    this.star = h(
      'button',
      {
        type: 'button',
        class: 'jp-autoglm-action jp-autoglm-star',
        'data-testid': 'autoglm-row-star',
        'aria-pressed': 'false',
        onclick: () => this.setStar()
      },
      this.sign,
      trans.__('Star')
    );
    this.input = h('input', { type: 'text', class: 'jp-autoglm-filter jp-autoglm-note', maxlength: 10_000, 'data-testid': 'autoglm-row-note' });
    const form = h(
      'form',
      {
        class: 'jp-autoglm-actions',
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          this.write('comment');
        }
      },
      this.input,
      h('button', { type: 'submit', class: 'jp-autoglm-action' }, trans.__('Add as a comment')),
      h('button', { type: 'button', class: 'jp-autoglm-action', onclick: () => this.write('tag') }, trans.__('Add as a tag'))
    );
    this.root = h(
      'div',
      {
        id,
        class: 'jp-autoglm-notes',
        role: 'group',
        'data-testid': 'autoglm-row-notes-panel',
        hidden: true,
        onkeydown: (event: KeyboardEvent) => {
          if (event.key === 'Escape') {
            event.stopPropagation();
            this.close();
          }
        }
      },
      h('div', { class: 'jp-autoglm-actions' }, this.star, this.tags.root),
      this.comments,
      form,
      this.fault
    );
  }

  update(study: StudyLine): void {
    const changed = study.updated_at !== this.study.updated_at;
    this.study = study;
    const { trans } = this.host;
    const name = clean(study.name, 100);
    const label = trans.__('Notes on %1: star, tags, comments', name);
    setAttribute(this.toggle, 'aria-label', label);
    setAttribute(this.toggle, 'title', label);
    setAttribute(this.root, 'aria-label', label);
    setAttribute(this.star, 'aria-label', trans.__('Star %1', name));
    const hint = trans.__('A comment or a tag on %1', name);
    setAttribute(this.input, 'aria-label', hint);
    setAttribute(this.input, 'placeholder', trans.__('Comment or tag'));
    if (changed && !this.root.hidden) {
      void this.load();
    }
  }

  private open(): void {
    setHidden(this.root, false);
    setAttribute(this.toggle, 'aria-expanded', 'true');
    void this.load();
  }

  private close(): void {
    const held = this.root.contains(document.activeElement);
    setHidden(this.root, true);
    setAttribute(this.toggle, 'aria-expanded', 'false');
    if (held) {
      this.toggle.focus();
    }
  }

  private async load(): Promise<void> {
    const turn = ++this.asked;
    try {
      const notes = await this.host.api.notes(this.study);
      if (turn === this.asked) {
        this.draw(notes);
        this.say('');
      }
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
    }
  }

  private draw(notes: readonly Note[]): void {
    const { trans } = this.host;
    const mine = notes.filter(note => note.trial === null);
    this.starred = mine.some(note => note.kind === 'star');
    setAttribute(this.star, 'aria-pressed', String(this.starred));
    this.sign.replaceChildren(icon(this.starred ? 'starred' : 'star'));
    this.tags.update(tagsOn(mine, null), {
      label: trans.__('Tags of %1', clean(this.study.name, 100)),
      removeLabel: tag => trans.__('Remove the tag %1', tag),
      remove: tag => this.untag(tag),
      after: () => this.input
    });
    const comments = mine.filter(note => note.kind === 'comment');
    const items = comments.slice(-MOST).map(note =>
      h(
        'li',
        {},
        h('span', { class: 'jp-autoglm-said' }, clean(note.text, 300)),
        h('span', { class: 'jp-autoglm-by' }, [clean(note.author, 40), clock(note.created_at)].filter(Boolean).join(', '))
      )
    );
    const more = comments.length - items.length;
    if (more > 0) {
      items.unshift(h('li', { class: 'jp-autoglm-by' }, trans._n('%1 earlier comment on its page', '%1 earlier comments on its page', more)));
    }
    this.comments.replaceChildren(...items);
    setHidden(this.comments, !items.length);
  }

  private setStar(): void {
    const { trans } = this.host;
    const starred = !this.starred;
    const name = clean(this.study.name, 60);
    const told = starred ? trans.__('Study %1 starred', name) : trans.__('Star of study %1 removed', name);
    void this.change({ trial: null, kind: 'star', text: starred ? '1' : '' }, told);
  }

  private write(kind: 'comment' | 'tag'): void {
    const { trans } = this.host;
    const text = this.input.value.trim().slice(0, kind === 'tag' ? LONGEST_TAG : undefined);
    if (!text) {
      this.input.focus();
      return;
    }
    const told = kind === 'tag' ? trans.__('Tag %1 added', clean(text, 60)) : trans.__('Note saved');
    void this.change({ trial: null, kind, text }, told).then(done => {
      if (done) {
        this.input.value = '';
        this.input.focus();
      }
    });
  }

  private async change(note: NewNote, told: string): Promise<boolean> {
    return this.attempt(() => this.host.api.addNote(this.study, note), told);
  }

  private untag(tag: Tag): void {
    const remove = async () => {
      for (const id of tag.ids) {
        await this.host.api.removeNote(this.study, id);
      }
    };
    void this.attempt(remove, this.host.trans.__('Tag %1 removed', tag.text));
  }

  private async attempt(action: () => Promise<unknown>, told: string): Promise<boolean> {
    try {
      await action();
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
      return false;
    }
    this.host.announce(told);
    await this.load();
    return true;
  }

  private say(fault: string): void {
    const text = clean(fault, 300);
    setText(this.fault, text);
    setHidden(this.fault, !text);
    if (text) {
      this.host.announce(text);
    }
  }

  private starred = false;
  private asked = 0;
  private readonly sign = h('span', { 'aria-hidden': 'true' }, icon('star'));
  private readonly star: HTMLButtonElement;
  private readonly tags = new TagList();
  private readonly comments = h('ul', { class: 'jp-autoglm-comments', role: 'list' });
  private readonly input: HTMLInputElement;
  private readonly fault = h('p', { class: 'jp-autoglm-notes-fault', hidden: true });
}
