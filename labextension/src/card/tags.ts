/** Tags as chips: shared by the card (tags of a trial) and the sidebar (tags of a study). */

import { h, setAttribute } from './dom';
import { icon } from './icons';
import type { Note } from './source';
import { clean } from './words';

/** A tag by its words, and the notes that say it: two people may have given the same one. */
export interface Tag {
  text: string;
  ids: string[];
}

/** The tags of a trial, or of the study as a whole (`null`), each once, in the order in which they were given. */
export function tagsOn(notes: readonly Note[], trial: number | null): Tag[] {
  const found = new Map<string, string[]>();
  for (const note of notes) {
    const text = note.kind === 'tag' && note.trial === trial ? clean(note.text, 60) : '';
    if (text) {
      found.set(text, [...(found.get(text) ?? []), note.id]);
    }
  }
  return [...found].map(([text, ids]) => ({ text, ids }));
}

export interface TagListOptions {
  /** What the list is of, for screen readers. */
  label: string;
  /** What the button of a tag is called. */
  removeLabel(tag: string): string;
  /** Take a tag back; null where nothing can be changed. */
  remove: ((tag: Tag) => void) | null;
  /** Where the focus goes when the last tag has gone. */
  after(): HTMLElement | null | undefined;
}

export class TagList {
  readonly root = h('ul', { class: 'autoglm-Tags', role: 'list', 'data-testid': 'autoglm-tags', hidden: true });
  private key = '';

  /** Show these tags; touches the page only where they or what can be done with them changed. */
  update(tags: readonly Tag[], options: TagListOptions): void {
    const key = JSON.stringify([options.label, options.remove !== null, tags]);
    if (key === this.key) {
      return;
    }
    this.key = key;
    const held = this.root.contains(document.activeElement);
    const at = [...this.root.children].findIndex(item => item.contains(document.activeElement));
    setAttribute(this.root, 'aria-label', options.label);
    this.root.hidden = !tags.length;
    this.root.replaceChildren(...tags.map(tag => this.chip(tag, options)));
    if (held) {
      const next = this.root.children[Math.min(at, tags.length - 1)]?.querySelector('button');
      (next ?? options.after())?.focus(); // the button that was pressed has gone
    }
  }

  private chip(tag: Tag, options: TagListOptions): HTMLElement {
    const item = h('li', { class: 'autoglm-Tag', 'data-testid': 'autoglm-tag' }, h('span', { 'aria-hidden': 'true' }, '# '), tag.text);
    const { remove } = options;
    if (remove) {
      const label = options.removeLabel(tag.text);
      item.append(
        h(
          'button',
          { type: 'button', class: 'autoglm-Tag-remove', 'aria-label': label, title: label, onclick: () => remove(tag) },
          icon('remove')
        )
      );
    }
    return item;
  }
}
