/**
 * A study as the server tells it: the `StudySource` of the page, and of a record whose kernel is gone.
 *
 * One poll a study, through Lumino's `Poll`: at rest while the browser tab or the view is hidden,
 * slower while nothing can change, with growing pauses while the server does not answer.
 */

import { Poll } from '@lumino/polling';

import { Api, ApiError, StudyId } from './api';
import type { Action, Head, Liveness, NewNote, Page, Points, PointsQuery, Query, StudySource } from './card/source';

const MOVING = new Set(['queued', 'preparing', 'running', 'paused', 'confirming']);
const RESTING_MS = 10_000;
const LONGEST_MS = 60_000;

export interface ServerSourceOptions {
  /** Milliseconds between two questions while the study moves. */
  interval?: number;
  /** Whether anybody can see it; nothing is asked while not. */
  visible?: () => boolean;
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
    options: ServerSourceOptions
  ) {
    this.interval = Math.max(1000, options.interval ?? 1000);
    this.poll = new Poll({
      name: 'autoglm-nb:study',
      factory: () => this.ask(),
      frequency: this.frequency(),
      standby: () => (options.visible && !options.visible() ? true : 'when-hidden')
    });
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

  async note(note: NewNote): Promise<void> {
    if (note.kind === 'star' && !note.text) {
      const stars = this.current.notes.filter(given => given.kind === 'star' && given.trial === note.trial);
      await Promise.all(stars.map(star => this.api.removeNote(this.id, star.id)));
    } else {
      await this.api.addNote(this.id, note);
    }
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

  /** Ask now, whatever the poll's turn is. */
  async refresh(): Promise<void> {
    try {
      await this.poll.refresh();
      await this.poll.tick;
    } catch {
      // Disposed meanwhile.
    }
  }

  dispose(): void {
    this.callbacks.clear();
    this.poll.dispose();
  }

  private async ask(): Promise<void> {
    try {
      const { data, etag } = await this.api.head(this.id, this.etag);
      const returned = !this.answering;
      this.answering = true;
      if (data) {
        this.current = data;
        this.etag = etag;
        this.pace();
      }
      if (data || returned) {
        this.tell();
      }
    } catch (error) {
      const lost = this.answering && error instanceof ApiError;
      this.answering = false;
      if (lost) {
        this.tell();
      }
      throw error; // lets the poll back off
    }
  }

  private tell(): void {
    for (const callback of [...this.callbacks]) {
      callback();
    }
  }

  private pace(): void {
    const wanted = this.frequency();
    if (wanted.interval !== this.poll.frequency.interval) {
      this.poll.frequency = wanted;
    }
  }

  private frequency() {
    const moving = MOVING.has(this.current.study.state);
    return { interval: moving ? this.interval : RESTING_MS, backoff: true, max: LONGEST_MS };
  }

  private answering = true;
  private readonly callbacks = new Set<() => void>();
  private readonly interval: number;
  private readonly poll: Poll;
}
