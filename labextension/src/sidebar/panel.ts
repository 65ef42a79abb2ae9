/**
 * The studies of this server, whichever notebook or kernel started them: at work first.
 *
 * Nothing jumps: the order is that of state and age, rows change in place, and a row that leaves
 * takes only its own space. What changes is said once, politely, by one live region, for those who do not see it.
 */

import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { StudyLine } from '../api';
import { Announcer } from '../card/context';
import { clear, h, setHidden, setText } from '../card/dom';
import type { Trans } from '../card/source';
import { clean, stateName } from '../card/words';
import { atWork, Studies } from '../studies';
import { emptyState } from './empty';
import { RowAction, RowHost, StudyRow } from './row';
import { ResourceStrip } from './strip';

const MOST_ROWS = 200;
const WAITS = new Set(['queued', 'paused']);

export interface PanelHost {
  readonly studies: Studies;
  readonly trans: Trans;
  run(action: RowAction | 'insert-example', study?: StudyLine): void;
}

export class StudiesPanel extends Widget {
  constructor(private readonly host: PanelHost) {
    super();
    const { trans } = host;
    this.addClass('jp-autoglm-sidebar');
    this.node.dataset.testid = 'autoglm-sidebar';
    this.list = h('ul', { class: 'jp-autoglm-list', role: 'list', 'aria-label': trans.__('Studies') });
    this.list.addEventListener('keydown', event => this.move(event));
    this.list.addEventListener('focusin', event => this.enter(event));
    this.filter = h('input', {
      type: 'search',
      class: 'jp-autoglm-filter',
      placeholder: trans.__('Filter studies'),
      'aria-label': trans.__('Filter studies by name, model, data, notebook or state'),
      oninput: () => this.draw()
    });
    this.again = h(
      'button',
      { type: 'button', class: 'jp-autoglm-action', onclick: () => void host.studies.refresh() },
      trans.__('Try again')
    );
    this.fault = h('div', { class: 'jp-autoglm-fault' }, this.faultText, this.again);
    this.empty = emptyState(trans, () => host.run('insert-example'));
    this.strip = new ResourceStrip(trans);
    this.announcer = new Announcer(this.live);
    this.rowHost = {
      trans,
      api: host.studies.api,
      run: (action, study) => host.run(action, study),
      announce: text => this.announcer.say(text)
    };
    this.node.append(
      h('header', { class: 'jp-autoglm-header' }, h('h2', {}, trans.__('Studies')), this.total),
      this.filter,
      this.fault,
      h('div', { class: 'jp-autoglm-scroll' }, this.empty, this.none, this.list, this.unreadable),
      this.strip.root,
      this.live
    );
    host.studies.changed.connect(this.draw, this);
    this.draw();
  }

  override dispose(): void {
    this.host.studies.changed.disconnect(this.draw, this);
    this.announcer.dispose();
    super.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    const row = this.rows.get(this.currentKey);
    (row?.root ?? (this.filter.hidden ? this.node.querySelector<HTMLElement>('button') : this.filter))?.focus();
  }

  private draw(): void {
    const { studies, trans } = this.host;
    const all = ordered(studies.all);
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length ? all.filter(study => this.fits(study, words)) : all;
    this.sync(found.slice(0, MOST_ROWS), all);
    const running = all.filter(atWork).length;
    setText(this.total, all.length ? trans.__('%1 running, %2 in all', running, all.length) : '');
    setText(this.faultText, studies.fault);
    setHidden(this.fault, !studies.fault);
    setHidden(this.filter, !all.length);
    setHidden(this.empty, !studies.known || all.length > 0 || studies.fault !== '');
    setHidden(this.list, !found.length);
    const more = found.length - MOST_ROWS;
    const rest =
      more > 0
        ? trans._n('%1 more study; filter to find it.', '%1 more studies; filter to find them.', more)
        : all.length && !found.length
          ? trans.__('No study fits the filter.')
          : '';
    setText(this.none, rest);
    setHidden(this.none, !rest);
    clear(this.unreadable);
    studies.unreadable.forEach(sentence => this.unreadable.append(h('p', {}, clean(sentence, 300))));
    setHidden(this.unreadable, !studies.unreadable.length);
    this.strip.update(studies.fault ? null : (studies.resources?.machine ?? null));
    this.announce(all, rest);
  }

  private fits(study: StudyLine, words: readonly string[]): boolean {
    const { trans } = this.host;
    const text = [study.name, study.model, study.data, study.notebook, study.state, stateName(study.state, trans)]
      .join(' ')
      .toLowerCase();
    return words.every(word => text.includes(word));
  }

  /** Bring the rows in line with the studies shown; moves a row only where the order changed. */
  private sync(shown: readonly StudyLine[], all: readonly StudyLine[]): void {
    const focused = document.activeElement;
    const kept = new Set(shown.map(keyOf));
    for (const [key, row] of this.rows) {
      if (!kept.has(key)) {
        row.root.remove();
        this.rows.delete(key);
      }
    }
    let before: Element | null = this.list.firstElementChild;
    for (const study of shown) {
      const key = keyOf(study);
      let row = this.rows.get(key);
      if (!row) {
        row = new StudyRow(this.rowHost, study);
        this.rows.set(key, row);
      }
      if (row.root === before) {
        before = before.nextElementSibling;
      } else {
        this.list.insertBefore(row.root, before);
      }
      row.update(study, { worker: this.host.studies.worker(study), place: placeInLine(study, all) });
    }
    if (!this.rows.has(this.currentKey)) {
      this.currentKey = shown.length ? keyOf(shown[0]) : '';
    }
    this.rows.forEach((row, key) => (row.current = key === this.currentKey));
    if (focused instanceof HTMLElement && this.list.contains(focused) && document.activeElement !== focused) {
      focused.focus(); // a row that was moved loses the focus
    }
  }

  private enter(event: FocusEvent): void {
    const row = (event.target as Element).closest('li');
    const found = [...this.rows].find(([, given]) => given.root === row);
    if (found && found[0] !== this.currentKey) {
      this.currentKey = found[0];
      this.rows.forEach((given, key) => (given.current = key === this.currentKey));
    }
  }

  private move(event: KeyboardEvent): void {
    if (event.target instanceof HTMLInputElement) {
      return; // a comment is being written: the arrows are the text's
    }
    const roots = [...this.list.children] as HTMLElement[];
    const at = roots.findIndex(root => root.contains(document.activeElement));
    const to: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: roots.length - 1 };
    if (at >= 0 && event.key in to) {
      roots[Math.max(0, Math.min(roots.length - 1, to[event.key]))].focus();
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === 'Enter' && document.activeElement === roots[at]) {
      const row = this.rows.get(this.currentKey);
      if (row) {
        this.host.run('open-study', row.id);
        event.preventDefault();
      }
    }
  }

  private announce(all: readonly StudyLine[], rest: string): void {
    const { studies, trans } = this.host;
    const remark = studies.fault || rest;
    if (remark !== this.said) {
      this.said = remark;
      if (this.isVisible) {
        this.announcer.say(remark);
      }
    }
    for (const study of all) {
      const key = keyOf(study);
      const before = this.states.get(key);
      this.states.set(key, study.state);
      if (before !== undefined && before !== study.state && this.isVisible) {
        this.announcer.say(`${clean(study.name, 60)}: ${stateName(study.state, trans)}.`);
      }
    }
  }

  private readonly total = h('span', { class: 'jp-autoglm-total' });
  private readonly filter: HTMLInputElement;
  private readonly faultText = h('p');
  private readonly again: HTMLButtonElement;
  private readonly fault: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly none = h('p', { class: 'jp-autoglm-none' });
  private readonly list: HTMLUListElement;
  private readonly unreadable = h('div', { class: 'jp-autoglm-unreadable' });
  private readonly strip: ResourceStrip;
  /** The only live region of the sidebar: states, faults and what a filter found are all said here, one after another. */
  private readonly live = h('div', { class: 'jp-autoglm-live', role: 'status', 'aria-live': 'polite', 'data-testid': 'autoglm-sidebar-status' });
  private readonly announcer: Announcer;
  private readonly rowHost: RowHost;
  private said = '';
  private readonly rows = new Map<string, StudyRow>();
  private readonly states = new Map<string, string>();
  private currentKey = '';
}

function keyOf(study: StudyLine): string {
  return `${study.home}/${study.name}`;
}

/** At work, then waiting, then the rest; the youngest first. Progress alone never moves a study. */
function ordered(studies: readonly StudyLine[]): StudyLine[] {
  const rank = (study: StudyLine) => (atWork(study) ? 0 : WAITS.has(study.state) ? 1 : 2);
  return [...studies].sort((a, b) => rank(a) - rank(b) || b.created_at - a.created_at || (a.name < b.name ? -1 : 1));
}

/** Which place a waiting study has in its device's line, the oldest request first; 0 if it does not wait. */
function placeInLine(study: StudyLine, all: readonly StudyLine[]): number {
  if (!study.queued_behind) {
    return 0;
  }
  const line = all.filter(other => other.home === study.home && other.queued_behind && other.device === study.device);
  return line.sort((a, b) => a.created_at - b.created_at).findIndex(other => other.name === study.name) + 1;
}
