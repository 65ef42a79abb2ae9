/**
 * A study as the server tells it: the `StudySource` of the page, and of a record whose kernel is gone.
 *
 * One poll a study, through Lumino's `Poll`: at rest while the browser tab or the view is hidden,
 * slower while nothing can change, with growing pauses while the server does not answer, and over
 * once a study that rests (for a record) or is gone has been asked often enough.
 */

import { Poll } from '@lumino/polling';

import type { Api, StudyId } from './api';
import { ApiError } from './apiError';
import type { Action, Head, Liveness, NewNote, Page, Points, PointsQuery, Query, StudySource } from './card/source';

const MOVING = new Set(['queued', 'preparing', 'running', 'paused', 'confirming']);
const RESTING = new Set(['finished', 'stopped', 'failed']);
const RESTING_MS = 10_000;
/** A worker whose heartbeat came late looks interrupted for a moment. */
const INTERRUPTED_MS = 5_000;
/** The longest pause while a study may move. */
const PATIENT_MS = 10_000;
const LONGEST_MS = 60_000;

export interface ServerSourceOptions {
  /** Milliseconds between two questions while the study moves. */
  interval?: number;
  /** Whether anybody can see it; nothing is asked while not. */
  visible?: () => boolean;
  /** How often a study that has ended is asked for in a row, then no more until `refresh`; for ever if left out. */
  restingAsks?: number;
}

export class ServerSource implements StudySource {
  /**
   * Ask for the study once and follow it from then on.
   *
   * @throws ApiError - there is no such study, or no answer.
   */
  static async open(api: Api, id: StudyId, options: ServerSourceOptions = {}): Promise<ServerSource> {
    const { data, etag } = await api.head(id);
    return new ServerSource(api, id, data!, etag, options);
  }

  private constructor(
    private readonly api: Api,
    readonly id: StudyId,
    private current: Head,
    private etag: string,
    private readonly options: ServerSourceOptions
  ) {
    this.interval = Math.max(1000, options.interval ?? 1000);
    this.poll = new Poll({
      name: 'autoglm-nb:study',
      factory: () => this.ask(),
      standby: () => (options.visible && !options.visible() ? true : 'when-hidden')
    });
    this.pace(); // not an option of the poll: its constructor takes no longest pause below 30 s
    document.addEventListener('visibilitychange', this.onVisibility);
  }

  get live(): Liveness {
    return this.answering ? 'server' : 'none';
  }

  head(): Head {
    return this.current;
  }

  page(query: Query): Promise<Page> {
    return this.api.page(this.id, query);
  }

  points(more?: PointsQuery): Promise<Points> {
    return this.api.points(this.id, more);
  }

  async control(action: Action, payload: Record<string, unknown> = {}): Promise<void> {
    await this.api.control(this.id, action, payload);
    void this.refresh();
  }

  /** A star with an empty text takes back every star of the trial, in one request however many there are. */
  async note(note: NewNote): Promise<void> {
    await this.api.addNote(this.id, note);
    await this.refresh();
  }

  async removeNote(id: string): Promise<void> {
    await this.api.removeNote(this.id, id);
    await this.refresh();
  }

  onChange(callback: () => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  /** Ask now, whatever the poll's turn is: when the view is shown again, and after every change of one's own. */
  async refresh(): Promise<void> {
    this.asksLeft = this.options.restingAsks ?? Infinity;
    this.gone = false;
    this.pace();
    try {
      if (this.poll.state.phase === 'refreshed') {
        await this.poll.tick; // its question may have been put before the change that is looked for
      }
      await this.poll.refresh();
      await this.poll.tick;
    } catch {
      // Disposed meanwhile.
    }
  }

  dispose(): void {
    document.removeEventListener('visibilitychange', this.onVisibility);
    this.callbacks.clear();
    this.poll.dispose();
  }

  private readonly onVisibility = (): void => {
    if (!document.hidden && (this.options.visible?.() ?? true)) {
      void this.refresh();
    }
  };

  private async ask(): Promise<void> {
    const turn = ++this.asked;
    let changed = false;
    try {
      const { data, etag } = await this.api.head(this.id, this.etag);
      if (turn < this.answered) {
        return; // a later question was answered first: this answer is older than what is shown
      }
      this.answered = turn;
      changed = data !== null || !this.answering;
      this.answering = true;
      if (data) {
        this.current = data;
        this.etag = etag;
      }
      this.count();
    } catch (error) {
      const given = error instanceof ApiError ? error : null;
      changed = this.answering && given !== null;
      this.answering = false;
      this.gone = given?.status === 404;
      this.count();
      throw error; // lets the poll back off
    } finally {
      if (changed) {
        this.tell();
      }
    }
  }

  /** A view that fails to draw must not pass for a server that fails to answer. */
  private tell(): void {
    for (const callback of [...this.callbacks]) {
      try {
        callback();
      } catch (error) {
        console.error('AutoGLM:', error);
      }
    }
  }

  private count(): void {
    this.asksLeft = RESTING.has(this.current.study.state) ? this.asksLeft - 1 : (this.options.restingAsks ?? Infinity);
    this.pace();
  }

  /** Sets how long the pause after the present question will be; the poll reads it when that is answered. */
  private pace(): void {
    const { state } = this.current.study;
    const over = this.gone || this.asksLeft <= 0;
    const interval = MOVING.has(state) ? this.interval : state === 'interrupted' ? INTERRUPTED_MS : RESTING_MS;
    const max = RESTING.has(state) ? LONGEST_MS : Math.max(PATIENT_MS, interval);
    this.poll.frequency = { interval: over ? Poll.NEVER : interval, backoff: true, max: over ? Poll.NEVER : max };
  }

  private answering = true;
  private asked = 0;
  private answered = 0;
  private gone = false;
  private asksLeft = this.options.restingAsks ?? Infinity;
  private readonly callbacks = new Set<() => void>();
  private readonly interval: number;
  private readonly poll: Poll;
}
