/**
 * One study in the list: the card in four lines, in the card's order of facts.
 *
 * A row is made once and changed in place, so that neither focus nor selection is lost when new
 * figures arrive. Its buttons are in the order of the page only while the row is the current one:
 * one Tab enters the list, the arrow keys go from study to study.
 */

import type { StudyLine, Worker } from '../api';
import { h, setAttribute, setHidden, setText } from '../card/dom';
import { clean, finite, gain, metricName, score, stateWords } from '../card/words';
import { can } from '../studies';
import { RowNotes, type NotesHost } from './rowNotes';
import { Spark } from './spark';

/** What the buttons of a row ask for; the names of the commands without their prefix. */
export type RowAction = 'open-study' | 'attach' | 'pause' | 'resume' | 'stop' | 'open-notebook';

export interface RowHost extends NotesHost {
  run(action: RowAction, study: StudyLine): void;
}

/** What is known of a study besides its line. */
export interface RowFacts {
  worker?: Worker;
  /** Its place among those that wait for the device, from 1; 0 if it does not wait. */
  place: number;
}

export class StudyRow {
  readonly root: HTMLElement;

  constructor(
    private readonly host: RowHost,
    private study: StudyLine
  ) {
    const { trans } = host;
    const action = (name: RowAction, label: string) =>
      h('button', { type: 'button', class: 'jp-autoglm-action', onclick: () => host.run(name, this.study) }, label);
    this.buttons = {
      'open-study': action('open-study', trans.__('Open')),
      attach: action('attach', trans.__('Attach')),
      pause: action('pause', trans.__('Pause')),
      resume: action('resume', trans.__('Resume')),
      stop: action('stop', trans.__('Stop')),
      'open-notebook': action('open-notebook', '')
    };
    this.buttons['open-notebook'].className = 'jp-autoglm-link';
    const { 'open-notebook': notebook, ...rest } = this.buttons;
    this.notes = new RowNotes(host, study);
    this.source = h('span', { class: 'jp-autoglm-from' }, this.plain, notebook);
    this.root = h(
      'li',
      { class: 'jp-autoglm-row', 'data-testid': 'autoglm-study-row', tabindex: -1 },
      h('div', { class: 'jp-autoglm-line' }, this.name, this.state),
      this.subject,
      h('div', { class: 'jp-autoglm-line' }, h('span', { class: 'jp-autoglm-best' }, this.best, this.gained)),
      h('div', { class: 'jp-autoglm-line' }, this.bar, this.count),
      this.detail,
      this.source,
      h('div', { class: 'jp-autoglm-actions' }, ...Object.values(rest), this.notes.toggle),
      this.notes.root
    );
    this.best.parentElement!.after(this.spark.root);
  }

  get id(): StudyLine {
    return this.study;
  }

  /** Whether the row is the one that Tab goes to. */
  set current(is: boolean) {
    setAttribute(this.root, 'tabindex', is ? 0 : -1);
    for (const button of [...Object.values(this.buttons), this.notes.toggle]) {
      setAttribute(button, 'tabindex', is ? 0 : -1);
    }
  }

  update(study: StudyLine, facts: RowFacts): void {
    this.study = study;
    const { trans } = this.host;
    const name = clean(study.name, 100);
    const state = stateWords(study.state, trans);
    const best = finite(study.best_value);
    const value = best === null ? trans.__('No result yet') : `${score(best)} ${metricName(study.metric, trans)}`;
    setText(this.name, name);
    setAttribute(this.name, 'title', name);
    setText(this.state, state);
    setAttribute(this.root, 'data-state', study.state);
    setText(this.subject, [study.model, study.data].filter(Boolean).map(part => clean(part, 60)).join(' · '));
    setText(this.best, value);
    setText(this.gained, this.gain(study));
    setAttribute(this.best.parentElement!, 'title', `${value}${this.gained.textContent}`);
    this.spark.update(study.spark ?? []);
    this.progress(study);
    setText(this.detail, this.details(study, facts));
    setHidden(this.detail, !this.detail.textContent);
    this.notebook(study);
    this.offer(study);
    this.notes.update(study);
    for (const [action, label] of Object.entries(this.labels(name))) {
      setAttribute(this.buttons[action as RowAction], 'aria-label', label);
      setAttribute(this.buttons[action as RowAction], 'title', label);
    }
    setAttribute(this.root, 'aria-label', [name, state.replace(/^\S+ /, ''), value, this.count.textContent].join(', '));
  }

  /** Show the buttons that mean something now; a button that goes hands its focus on. */
  private offer(study: StudyLine): void {
    const { pause, resume, stop } = this.buttons;
    const focused = document.activeElement;
    setHidden(pause, !can(study, 'pause'));
    setHidden(resume, !can(study, 'resume') && study.state !== 'interrupted');
    setHidden(stop, !can(study, 'stop'));
    if (focused instanceof HTMLElement && focused.hidden && this.root.contains(focused)) {
      ([pause, resume].find(button => button !== focused && !button.hidden) ?? this.root).focus();
    }
  }

  private labels(name: string): Record<string, string> {
    const { trans } = this.host;
    return {
      'open-study': trans.__('Open the page of %1', name),
      attach: trans.__('Show %1 in the active notebook', name),
      pause: trans.__('Pause %1', name),
      resume: trans.__('Resume %1', name),
      stop: trans.__('Stop %1', name)
    };
  }

  private gain(study: StudyLine): string {
    const best = finite(study.best_value);
    const baseline = finite(study.baseline_value);
    if (best === null || baseline === null) {
      return '';
    }
    return ` (${gain(study.direction === 'minimize' ? baseline - best : best - baseline)})`;
  }

  private progress(study: StudyLine): void {
    const { trans } = this.host;
    const total = finite(study.total);
    const count = total ? trans.__('%1 of %2', study.finished, total) : trans._n('%1 trial', '%1 trials', study.finished);
    setText(this.count, count);
    setHidden(this.bar, !total);
    if (total) {
      this.bar.max = total;
      this.bar.value = Math.min(total, study.finished);
      setAttribute(this.bar, 'aria-label', trans.__('Trials finished'));
    }
  }

  private details(study: StudyLine, facts: RowFacts): string {
    const { trans } = this.host;
    const out: string[] = [];
    if (study.queued_behind) {
      const behind = clean(study.queued_behind, 60);
      out.push(
        facts.place > 1
          ? trans.__('waits for the device behind %1, number %2 in line', behind, facts.place)
          : trans.__('waits for the device behind %1', behind)
      );
    } else if (study.reason && study.state !== 'running') {
      out.push(clean(study.reason, 160));
    }
    const { worker } = facts;
    if (worker) {
      out.push(trans.__('CPU %1 %', worker.cpu_percent.toFixed(0)), trans.__('%1 GB', worker.memory_gb.toFixed(1)));
      if (finite(worker.gpu_percent) !== null) {
        out.push(trans.__('GPU %1 %', worker.gpu_percent!.toFixed(0)));
      }
    }
    return out.join(' · ');
  }

  private notebook(study: StudyLine): void {
    const { trans } = this.host;
    const path = clean(study.notebook ?? '', 200);
    const name = path.split('/').pop() ?? '';
    const button = this.buttons['open-notebook'];
    setHidden(this.source, !name);
    setText(this.plain, study.notebook_here ? '' : trans.__('from %1', name));
    setHidden(button, !study.notebook_here);
    setText(button, name);
    setAttribute(button, 'title', trans.__('Open the notebook %1', path));
  }

  private readonly name = h('h3', { class: 'jp-autoglm-name' });
  private readonly state = h('span', { class: 'jp-autoglm-state' });
  private readonly subject = h('div', { class: 'jp-autoglm-subject' });
  private readonly best = h('span', { class: 'jp-autoglm-value' });
  private readonly gained = h('span', { class: 'jp-autoglm-gain' });
  private readonly bar = h('progress', { class: 'jp-autoglm-bar' });
  private readonly count = h('span', { class: 'jp-autoglm-count' });
  private readonly detail = h('div', { class: 'jp-autoglm-detail' });
  private readonly plain = h('span');
  private readonly source: HTMLElement;
  private readonly spark = new Spark();
  private readonly notes: RowNotes;
  private readonly buttons: Record<RowAction, HTMLButtonElement>;
}
