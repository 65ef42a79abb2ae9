/**
 * The trials behind a virtualised table: pages asked for as they come into view, kept until the
 * question changes, and brought up to date in place when single trials change.
 */

import type { Page, Query, StudySource, Trial } from './source';

export const PAGE = 60;

export class TrialList {
  total = 0;
  sort = 'number';
  order: 'asc' | 'desc' = 'desc';
  filter = '';
  private pages = new Map<number, Trial[]>();
  private asked = new Set<number>();
  private generation = 0;

  constructor(
    private readonly source: StudySource,
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void
  ) {}

  /** The trial at a place of the sorted and filtered list, if it has been loaded. */
  at(index: number): Trial | undefined {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Load what [from, to) needs. */
  ensure(from: number, to: number): void {
    const first = Math.max(0, Math.floor(from / PAGE));
    const last = Math.floor(Math.max(0, Math.min(to, Math.max(this.total, 1)) - 1) / PAGE);
    for (let page = first; page <= last; page++) {
      if (!this.pages.has(page) && !this.asked.has(page)) {
        void this.load(page);
      }
    }
  }

  /** Ask another question; the list empties only when the answer is there. */
  ask(changes: { sort?: string; order?: 'asc' | 'desc'; filter?: string }): void {
    Object.assign(this, changes);
    this.reload();
  }

  /** Load again what is kept, without emptying the table meanwhile. */
  reload(around = 0): void {
    this.generation += 1;
    this.asked.clear();
    void this.load(Math.floor(around / PAGE), true);
  }

  /** Bring trials that are kept up to date; whether any was. */
  merge(trials: readonly Trial[]): boolean {
    const fresh = new Map(trials.map(trial => [trial.number, trial]));
    let touched = false;
    for (const page of this.pages.values()) {
      for (let i = 0; i < page.length; i++) {
        const found = fresh.get(page[i].number);
        if (found && found !== page[i]) {
          page[i] = found;
          touched = true;
        }
      }
    }
    return touched;
  }

  private async load(page: number, replace = false): Promise<void> {
    const generation = this.generation;
    this.asked.add(page);
    const query: Query = { offset: page * PAGE, limit: PAGE, sort: this.sort, order: this.order, filter: this.filter };
    let answer: Page;
    try {
      answer = await this.source.page(query);
    } catch (error) {
      if (generation === this.generation) {
        this.asked.delete(page);
        this.failed(error);
      }
      return;
    }
    if (generation !== this.generation) {
      return;
    }
    this.asked.delete(page);
    if (replace) {
      this.pages.clear();
    }
    this.total = answer.total;
    this.pages.set(page, answer.trials);
    this.changed();
  }
}
