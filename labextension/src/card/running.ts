/** The trials that run now: a row each, kept in its place for as long as the trial runs. */

import type { Context } from './context';
import { h, setAttribute, setHidden, setText } from './dom';
import { icon } from './icons';
import type { Trial } from './source';
import { Story } from './story';
import { clean, configLine, share } from './words';

/** Rows shown; more are counted in the title. */
export const ROWS = 4;

interface Row {
  root: HTMLElement;
  number: HTMLElement;
  config: HTMLElement;
  progress: HTMLProgressElement;
  share: HTMLElement;
  value: HTMLElement;
  why: HTMLElement;
  stop: HTMLButtonElement;
  edit: HTMLButtonElement;
  trial: Trial | null;
}

export class Running {
  readonly root: HTMLElement;
  private readonly title = h('strong');
  private readonly doing = h('span', { class: 'autoglm-Quiet' });
  private readonly rows: Row[];
  private readonly list: HTMLElement;
  private most = 1;

  constructor(
    private readonly ctx: Context,
    /** Opens a copy in the editor; null where there is none. */
    private readonly edit: ((trial: Trial) => void) | null
  ) {
    const { trans } = ctx;
    setText(this.title, trans.__('Running now'));
    this.rows = Array.from({ length: ROWS }, () => this.make());
    this.list = h('ul', { class: 'autoglm-Running-list', 'aria-label': trans.__('Running trials') }, ...this.rows.map(r => r.root));
    this.root = h(
      'div',
      { class: 'autoglm-Running' },
      h('div', { class: 'autoglm-Line' }, this.title, ' ', this.doing),
      this.list
    );
  }

  update(story: Story): void {
    const { trans } = this.ctx;
    const running = story.running;
    const byNumber = new Map(running.map(t => [t.number, t]));
    for (const row of this.rows) {
      row.trial = (row.trial && byNumber.get(row.trial.number)) ?? null;
      if (row.trial) {
        byNumber.delete(row.trial.number);
      }
    }
    for (const trial of byNumber.values()) {
      const free = this.rows.find(r => r.trial === null);
      if (free) {
        free.trial = trial;
        free.stop.disabled = false;
      }
    }
    const used = this.rows.reduce((last, row, i) => (row.trial ? i + 1 : last), 0);
    this.most = Math.max(this.most, used); // the list only ever grows, so that nothing below it jumps
    this.rows.forEach((row, i) => {
      setHidden(row.root, i >= this.most);
      this.draw(row, story);
    });
    const more = running.length - this.rows.filter(r => r.trial).length;
    setText(this.doing, running.length ? (more > 0 ? trans.__('and %1 more', more) : '') : story.doing);
  }

  private make(): Row {
    const { trans } = this.ctx;
    const row: Row = {
      root: h('li', { class: 'autoglm-Run' }),
      number: h('strong', { class: 'autoglm-Run-number' }),
      config: h('span', { class: 'autoglm-Line autoglm-Run-config' }),
      progress: h('progress', { max: 1, value: 0 }),
      share: h('span', { class: 'autoglm-Run-share' }),
      value: h('span', { class: 'autoglm-Run-value' }),
      why: h('span', { class: 'autoglm-Line autoglm-Quiet autoglm-Run-why' }),
      stop: h('button', { type: 'button', class: 'autoglm-Button autoglm-is-small' }, trans.__('Stop')),
      edit: h('button', { type: 'button', class: 'autoglm-Icon' }, icon('copy')),
      trial: null
    };
    row.stop.addEventListener('click', () => {
      const number = row.trial?.number;
      if (number !== undefined) {
        row.stop.disabled = true;
        this.ctx.announce(trans.__('Ending trial %1', number));
        this.ctx.attempt(async () => {
          try {
            await this.ctx.source.control('stop_trial', { trial: number });
          } catch (error) {
            row.stop.disabled = false;
            throw error;
          }
        });
      }
    });
    row.edit.addEventListener('click', () => row.trial && this.edit?.(row.trial));
    row.root.append(row.number, row.config, row.progress, row.share, row.value, row.why, row.stop, row.edit);
    return row;
  }

  private draw(row: Row, story: Story): void {
    const { trans, can } = this.ctx;
    const trial = row.trial;
    row.root.classList.toggle('autoglm-is-free', !trial);
    setAttribute(row.root, 'aria-hidden', trial ? null : 'true');
    setHidden(row.stop, !can);
    setHidden(row.edit, !can || !this.edit);
    if (!trial) {
      row.stop.disabled = row.edit.disabled = true;
      return;
    }
    row.edit.disabled = false;
    const name = `#${trial.number}`;
    const config = configLine(trial.config ?? {}, story.searched, trans);
    const why = trial.proposed_by ? trans.__('proposed by: %1', clean(trial.proposed_by, 80)) : '';
    setText(row.number, name);
    setText(row.config, config);
    setAttribute(row.config, 'title', config);
    const progress = Math.min(1, Math.max(0, trial.progress || 0));
    if (row.progress.value !== progress) {
      row.progress.value = progress;
    }
    setAttribute(row.progress, 'aria-label', trans.__('progress of trial %1', name));
    setText(row.share, share(progress));
    setText(row.value, story.soFar(trial));
    setText(row.why, why);
    setAttribute(row.why, 'title', why);
    const end = trans.__('End trial %1', trial.number);
    setAttribute(row.stop, 'aria-label', end);
    setAttribute(row.stop, 'title', end);
    const copy = trans.__('Edit a copy of trial %1 and queue it', trial.number);
    setAttribute(row.edit, 'aria-label', copy);
    setAttribute(row.edit, 'title', copy);
  }
}
