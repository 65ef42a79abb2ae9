/**
 * The card of a study: the answer so far, the history of its trials, what runs now, and the rest
 * behind tabs. One drawing for the live widget, the saved record and the page in the main area.
 *
 * Everything has a fixed height and every part touches the page only where something changed, so an
 * update costs a few milliseconds at any number of trials and nothing moves under the reader's eyes.
 */

import { Announcer, type Context } from './context';
import { CurvesPanel } from './curves';
import { h, setAttribute, setHidden, setText, table } from './dom';
import { Editor } from './editor';
import { History } from './history';
import { Masthead } from './masthead';
import { NotesPanel } from './notes';
import { ParametersPanel } from './parameters';
import { ParetoPanel } from './pareto';
import { ProvenancePanel } from './provenance';
import { resourceLine, ResourcesPanel } from './resources';
import { Running } from './running';
import { mergeTrials } from './pointSet';
import { pointsOf } from './snapshotSource';
import type { Head, Points, StudySource, Trans, Trial } from './source';
import { SpacePanel } from './spacePanel';
import { Story } from './story';
import { Tabs } from './tabs';
import { TrialsPanel } from './trials';
import { clean, score, stateName } from './words';

/** A source that also tells which trials changed between two heads (the kernel's does). */
export interface TrialEvents {
  onTrials(callback: (trials: Trial[]) => void): () => void;
}

/** Milliseconds between two requests for all points; in between, trials that end are merged in. */
function pointsEvery(count: number, told: boolean): number {
  return told ? 60_000 : Math.max(4000, 2 * count);
}

export class StudyCard {
  readonly root: HTMLElement;
  private readonly ctx: Context;
  private readonly announcer: Announcer;
  private readonly masthead: Masthead;
  private readonly history: History;
  private readonly running: Running;
  private readonly tabs: Tabs;
  private readonly editor: Editor;
  private readonly message = h('div', { class: 'autoglm-Message autoglm-Line' });
  private readonly decision = h('p', { class: 'autoglm-Decision', 'data-testid': 'autoglm-decision' });
  private readonly final = h('div', { class: 'autoglm-Final' });
  private readonly footLeft = h('span', { class: 'autoglm-Line' });
  private readonly footRight = h('span', { class: 'autoglm-Line' });
  private readonly ends: (() => void)[] = [];
  private story: Story;
  private points: Points = { numbers: [], values: [], states: '' };
  private pointsKey = '';
  private pointsAt = 0;
  private pointsTimer = 0;
  private finalKey = '';
  private said = { state: '', best: null as number | null };
  private fault = '';
  private disposed = false;
  private moving: Trial[] = [];
  private movingAt = 0;

  constructor(
    private readonly host: HTMLElement,
    private readonly source: StudySource,
    private readonly trans: Trans,
    private footnote = ''
  ) {
    const head = source.head();
    const region = h('div', { class: 'autoglm-Hidden', role: 'status', 'aria-live': 'polite' });
    this.announcer = new Announcer(region);
    this.ctx = {
      source,
      trans,
      announce: text => this.announcer.say(text),
      attempt: action => void this.attempt(action),
      get can() {
        return source.live !== 'none';
      }
    };
    this.story = new Story(head, trans);
    this.masthead = new Masthead(this.ctx);
    this.history = new History(this.ctx, this.story);
    const edit = (trial: Trial): void => {
      this.tabs.open('trials');
      this.editor.open(trial);
    };
    this.editor = new Editor(this.ctx, () => undefined);
    this.running = new Running(this.ctx, edit);
    this.tabs = new Tabs(trans.__('Parts of the study'), [
      { id: 'trials', title: trans.__('Trials'), make: () => new TrialsPanel(this.ctx, this.story, { edit }) },
      { id: 'parameters', title: trans.__('Parameters'), make: () => new ParametersPanel(this.ctx) },
      { id: 'curves', title: trans.__('Learning curves'), make: () => new CurvesPanel(this.ctx) },
      { id: 'pareto', title: trans.__('Pareto'), make: () => new ParetoPanel(this.ctx) },
      { id: 'space', title: trans.__('Search space'), make: () => new SpacePanel(this.ctx) },
      { id: 'resources', title: trans.__('Resources'), make: () => new ResourcesPanel(this.ctx) },
      { id: 'notes', title: trans.__('Notes'), make: () => new NotesPanel(this.ctx) },
      { id: 'provenance', title: trans.__('Provenance'), make: () => new ProvenancePanel(this.ctx) }
    ]);
    const below = h('div', { class: 'autoglm-Below' }, this.tabs.root, this.editor.root);
    this.root = h(
      'section',
      { class: 'autoglm-Card', 'data-testid': 'autoglm-card', 'aria-label': trans.__('Study %1', this.story.name) },
      this.masthead.root,
      this.decision,
      this.final,
      this.history.figure.root,
      this.running.root,
      this.message,
      below,
      h('footer', { class: 'autoglm-Foot' }, this.footLeft, this.footRight),
      region
    );
    host.append(this.root);
    this.ends.push(source.onChange(() => this.update(source.head())));
    const told = source as StudySource & Partial<TrialEvents>;
    if (told.onTrials) {
      this.ends.push(told.onTrials(trials => this.onTrials(trials)));
    }
    this.update(head);
  }

  /** Draw a newer head. */
  update(head: Head): void {
    if (this.disposed) {
      return;
    }
    this.story = new Story(this.withRunning(head), this.trans);
    const { story, trans } = this;
    setAttribute(this.root, 'data-state', story.state);
    this.masthead.update(story);
    this.running.update(story);
    setHidden(this.running.root, !story.active && story.state !== 'paused' && story.running.length === 0);
    setText(this.decision, story.decision);
    setAttribute(this.decision, 'data-verdict', story.decision ? (head.decision?.verdict ?? null) : null);
    setHidden(this.decision, !story.decision);
    this.drawFinal();
    this.drawMessage();
    this.history.retitle(story);
    this.wantPoints();
    this.tabs.offer('pareto', story.objectives.length > 1);
    const notes = (head.notes ?? []).filter(note => note.kind !== 'star').length;
    this.tabs.retitle('notes', notes ? trans.__('Notes %1', notes) : trans.__('Notes'));
    this.tabs.update();
    setText(this.footLeft, this.footnote);
    setText(this.footRight, head.readings?.length ? resourceLine(head.readings) : '');
    this.speak(head);
  }

  /** The line at the lower left: how live this card is. */
  setFootnote(text: string): void {
    this.footnote = text;
    setText(this.footLeft, text);
  }

  dispose(): void {
    if (this.disposed) {
      return;
    }
    this.disposed = true;
    window.clearTimeout(this.pointsTimer);
    this.ends.forEach(end => end());
    this.announcer.dispose();
    this.history.dispose();
    this.tabs.dispose();
    this.root.remove();
    this.source.dispose?.();
  }

  /** Whether this card is still in the page. */
  get attached(): boolean {
    return this.host.isConnected;
  }

  // -- data ------------------------------------------------------------------------------------

  /** The server's head has no trials: those that run are asked for beside it. */
  private withRunning(head: Head): Head {
    const active = !['finished', 'stopped', 'failed'].includes(head.study?.state);
    if (this.source.live !== 'server' || head.trials?.length || !active) {
      return head;
    }
    if (Date.now() - this.movingAt > 900) {
      this.movingAt = Date.now();
      this.source
        .page({ offset: 0, limit: 12, filter: 'state:running' })
        .then(page => {
          this.moving = page.trials;
          if (!this.disposed) {
            this.story = new Story({ ...this.source.head(), trials: this.moving }, this.trans);
            this.running.update(this.story);
          }
        })
        .catch(() => undefined);
    }
    return { ...head, trials: this.moving };
  }

  /** Ask for all points when trials have ended, but not at every single one of a fast study. */
  private wantPoints(): void {
    const { headline, trials_total } = this.story.head;
    const key = `${headline?.finished}-${trials_total}-${this.source.live}`;
    if (key === this.pointsKey) {
      return;
    }
    const count = this.points.numbers.length;
    const wait = count ? this.pointsAt + pointsEvery(count, 'onTrials' in this.source) - Date.now() : 0;
    window.clearTimeout(this.pointsTimer);
    this.pointsTimer = window.setTimeout(() => void this.loadPoints(key), Math.max(0, wait));
    this.mergePoints(this.story.head.trials ?? []);
  }

  private async loadPoints(key: string): Promise<void> {
    this.pointsKey = key;
    this.pointsAt = Date.now();
    try {
      const points = await this.source.points();
      if (!this.disposed) {
        this.points = points;
        this.history.update(this.story, points);
      }
    } catch {
      this.pointsKey = '';
      if (!this.points.numbers.length && !this.disposed) {
        this.points = pointsOf(this.story.head.trials ?? []);
        this.history.update(this.story, this.points);
      }
    }
  }

  private onTrials(trials: Trial[]): void {
    const panel = this.tabs.content('trials');
    if (!trials.length) {
      this.pointsKey = '';
      this.pointsAt = Math.min(this.pointsAt, Date.now() - 55_000); // so many changed that all are asked for, soon
      this.wantPoints();
      if (panel instanceof TrialsPanel) {
        panel.refresh();
      }
      return;
    }
    this.mergePoints(trials);
    if (panel instanceof TrialsPanel) {
      panel.merge(trials);
    }
  }

  /** Put trials that have just ended into the chart without asking for all points again. */
  private mergePoints(trials: readonly Trial[]): void {
    if (!this.points.numbers.length || !trials.length) {
      return;
    }
    const changed = mergeTrials(this.points, trials);
    if (changed.length) {
      this.history.merge(this.story, changed);
    }
  }

  private async attempt(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
      this.fault = '';
    } catch (error) {
      this.fault = clean((error as Error)?.message ?? error, 400);
      this.announcer.say(this.fault);
      this.masthead.refused();
    }
    this.drawMessage();
  }

  // -- drawing ---------------------------------------------------------------------------------

  private drawMessage(): void {
    const { story, trans } = this;
    const given = this.fault ? { level: 'error', text: this.fault } : story.message;
    const reason = story.reason && !story.active ? { level: story.state === 'failed' ? 'error' : 'info', text: story.reason } : null;
    const waits = story.state === 'paused' || story.state === 'interrupted';
    const advice = waits && story.advice ? { level: 'info', text: story.advice } : null;
    const shown = given ?? reason ?? advice;
    setAttribute(this.message, 'data-level', shown?.level ?? null);
    const lead = shown?.level === 'error' ? trans.__('Error: %1', shown.text) : shown?.level === 'warning' ? trans.__('Warning: %1', shown.text) : (shown?.text ?? '');
    setText(this.message, lead);
    setAttribute(this.message, 'title', lead || null);
  }

  private drawFinal(): void {
    const { story, trans } = this;
    const key = story.hasFinal ? JSON.stringify(story.head.final) : '';
    if (key === this.finalKey) {
      return;
    }
    this.finalKey = key;
    if (!key) {
      this.final.replaceChildren();
      return;
    }
    const parts: HTMLElement[] = [
      table(story.finalCaption, ['', trans.__('Mean'), trans.__('95 % interval')], story.finalRows())
    ];
    if (story.finalSentence) {
      parts.push(h('p', {}, story.finalSentence));
    }
    this.final.replaceChildren(...parts);
  }

  /** Tell a screen reader what changed: the state, and a new best. */
  private speak(head: Head): void {
    const { story, trans } = this;
    const best = head.headline?.best_value ?? null;
    const first = this.said.state === '';
    if (!first && this.said.state !== story.state) {
      this.announcer.say(trans.__('Study %1 is now %2.', story.name, stateName(story.state, trans)));
    }
    if (!first && best !== null && best !== this.said.best) {
      this.announcer.say(trans.__('New best: %1 %2, trial %3.', score(best), story.metric, head.headline.best_trial ?? '–'));
    }
    this.said = { state: story.state, best };
  }
}
