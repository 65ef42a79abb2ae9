/**
 * Every study of this server, as the sidebar, the status bar and the commands see them.
 *
 * One list for all of them, asked for by one poll: often while the sidebar is open and something
 * moves, seldom while only the status bar shows it, never while the browser tab is hidden, and
 * with growing pauses while the server does not answer. Figures of the machine are asked for
 * only while the sidebar is open.
 */

import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Api, ApiError, Resources, StudyId, StudyLine, Worker } from './api';
import type { Action } from './card/source';

/** At work or about to be: what the status bar counts. */
export const AT_WORK: ReadonlySet<string> = new Set(['preparing', 'running', 'confirming']);

const WAITING: ReadonlySet<string> = new Set(['queued', 'paused']);
const GLANCE_MS = 10_000;
const QUIET_MS = 30_000;
const LONGEST_MS = 120_000;
/** The longest pause while somebody looks at the list. */
const PATIENT_MS = 10_000;

export function atWork(study: StudyLine): boolean {
  return AT_WORK.has(study.state);
}

/** Whether a worker can be asked to pause, resume or stop. */
export function can(study: StudyLine, action: Action): boolean {
  switch (action) {
    case 'pause':
      return atWork(study) && study.state !== 'confirming';
    case 'resume':
      return study.state === 'paused';
    case 'stop':
      return atWork(study) || WAITING.has(study.state);
    default:
      return false;
  }
}

export class Studies {
  constructor(readonly api: Api) {
    this.poll = new Poll({
      name: 'autoglm-nb:studies',
      auto: false,
      factory: () => this.ask(),
      frequency: { interval: GLANCE_MS, backoff: true, max: LONGEST_MS },
      standby: 'when-hidden'
    });
  }

  /** Something shown has changed: the studies, the machine's figures, or whether the server answers. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Running first; the server's order. */
  get all(): readonly StudyLine[] {
    return this.list;
  }

  /** Whether the server has answered once. */
  get known(): boolean {
    return this.answered;
  }

  /** Why the last question failed, as a sentence; empty while all is well. */
  get fault(): string {
    return this.failure;
  }

  /** Stores that could not be read, a sentence each. */
  get unreadable(): readonly string[] {
    return this.faults;
  }

  get resources(): Resources | null {
    return this.machine;
  }

  find(id: StudyId): StudyLine | undefined {
    return this.list.find(study => study.home === id.home && study.name === id.name);
  }

  /** The process that works on a study, as far as the machine's figures are known. */
  worker(id: StudyId): Worker | undefined {
    return this.machine?.workers.find(worker => worker.home === id.home && worker.study === id.name);
  }

  /** Begin to ask; further calls do nothing. */
  start(): void {
    if (!this.started) {
      this.started = true;
      void this.poll.start();
    }
  }

  /** Whether the sidebar is open, and how many milliseconds are between two questions then. */
  watch(open: boolean, interval: number): void {
    this.open = open;
    this.interval = Math.max(500, interval);
    this.pace();
    if (open) {
      this.start();
      void this.refresh();
    }
  }

  /** Ask now. */
  async refresh(): Promise<void> {
    this.started = true;
    try {
      await this.poll.refresh();
      await this.poll.tick;
    } catch {
      // Disposed meanwhile.
    }
  }

  /**
   * Ask a study's worker for something.
   *
   * @throws ApiError - it cannot be asked, in a sentence.
   */
  async control(id: StudyId, action: Action): Promise<void> {
    await this.api.control(id, action);
    window.setTimeout(() => void this.refresh(), 700); // a worker looks for requests every half second
  }

  dispose(): void {
    this.poll.dispose();
    Signal.clearData(this);
  }

  private async ask(): Promise<void> {
    const turn = ++this.asked;
    try {
      const [answer, machine] = await Promise.all([
        this.api.studies(this.etag),
        this.open ? this.api.resources() : Promise.resolve(null)
      ]);
      if (turn < this.told) {
        return; // a later question was answered first
      }
      this.told = turn;
      const returned = !this.answered || this.failure !== '';
      this.answered = true;
      this.failure = '';
      if (answer.data) {
        this.list = answer.data.studies;
        this.faults = (answer.data.faults ?? []).map(fault => fault.message);
        this.etag = answer.etag;
      }
      this.machine = machine ?? this.machine;
      this.pace();
      if (answer.data || machine || returned) {
        this._changed.emit();
      }
    } catch (error) {
      const told = error instanceof ApiError ? error.message : String(error);
      if (told !== this.failure) {
        this.failure = told;
        this._changed.emit();
      }
      throw error; // lets the poll back off
    }
  }

  private pace(): void {
    const busy = this.list.some(study => atWork(study) || WAITING.has(study.state));
    const interval = this.open ? (busy ? this.interval : Math.max(this.interval, 3000)) : busy ? GLANCE_MS : QUIET_MS;
    this.poll.frequency = { interval, backoff: true, max: this.open ? Math.max(interval, PATIENT_MS) : LONGEST_MS };
  }

  private list: StudyLine[] = [];
  private faults: string[] = [];
  private machine: Resources | null = null;
  private etag = '';
  private failure = '';
  private answered = false;
  private asked = 0;
  private told = 0;
  private started = false;
  private open = false;
  private interval = 2000;
  private readonly poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
}
