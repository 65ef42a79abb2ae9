/** The buttons at the end of a row of the trials table. */

import type { Context } from './context';
import { h, type Attributes } from './dom';
import { icon, type IconName } from './icons';
import type { Trial } from './source';

/** What can be done with a trial. */
export interface TrialActs {
  star(trial: Trial): void;
  note(trial: Trial): void;
  tag(trial: Trial): void;
  edit(trial: Trial): void;
  stop(trial: Trial): void;
}

/** Star, note, tag, edit, stop; in the tab order only in the row that has the focus. */
export function trialTools(trial: Trial, focused: boolean, ctx: Context, acts: TrialActs): HTMLElement[] {
  const { trans, can } = ctx;
  const n = trial.number;
  if (!can) {
    return trial.starred
      ? [h('span', { class: 'autoglm-Icon', role: 'img', 'aria-label': trans.__('starred') }, icon('starred'))]
      : [];
  }
  const tool = (name: keyof TrialActs, sign: IconName, label: string, more: Attributes = {}): HTMLElement =>
    h(
      'button',
      {
        type: 'button',
        class: 'autoglm-Icon',
        'data-tool': name,
        'aria-label': label,
        title: label,
        tabindex: focused ? 0 : -1,
        onclick: (event: MouseEvent) => {
          event.stopPropagation();
          acts[name](trial);
        },
        ...more
      },
      icon(sign)
    );
  const made = [
    tool('star', trial.starred ? 'starred' : 'star', trans.__('Star trial %1', n), {
      'aria-pressed': String(Boolean(trial.starred))
    }),
    tool('note', 'note', trans.__('Write a note on trial %1', n)),
    tool('tag', 'tag', trans.__('Tag trial %1', n)),
    tool('edit', 'copy', trans.__('Edit a copy of trial %1 and queue it', n))
  ];
  if (trial.state === 'running') {
    made.push(tool('stop', 'stop', trans.__('End trial %1', n)));
  }
  return made;
}
