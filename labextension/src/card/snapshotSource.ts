/** A saved snapshot as a source: everything is at hand, nothing moves, nothing can be asked for. */

import { pageOf } from './listing';
import type { Action, Head, NewNote, Page, Points, PointsQuery, Query, Snapshot, StudySource, Trial, Value } from './source';
import { trialValue } from './story';
import { finite } from './words';

const LETTERS: Record<string, string> = { waiting: 'w', running: 'r', completed: 'c', pruned: 'p', failed: 'f' };

/** Trials in the compact form that charts draw. */
export function pointsOf(trials: readonly Trial[], more: PointsQuery = {}): Points {
  const ordered = [...trials].sort((a, b) => a.number - b.number);
  const points: Points = {
    numbers: ordered.map(t => t.number),
    values: ordered.map(t => (t.state === 'running' ? null : trialValue(t))),
    states: ordered.map(t => LETTERS[t.state] ?? 'w').join('')
  };
  if (more.parameters) {
    const names = [...new Set(ordered.flatMap(t => Object.keys(t.config ?? {})))].sort();
    points.parameters = Object.fromEntries(names.map(name => [name, column(ordered.map(t => t.config?.[name]))]));
    points.proposed_by = column(ordered.map(t => String(t.proposed_by ?? '').split(';')[0].trim() || null));
  }
  if (more.objectives) {
    const count = Math.max(1, ...ordered.map(t => t.values?.length ?? 0));
    points.objectives = Array.from({ length: count }, (_, k) =>
      ordered.map(t => finite(t.values?.[k] ?? (k === 0 ? t.value : null)))
    );
  }
  return points;
}

function column(values: readonly (Value | undefined)[]): { choices: string[] | null; values: (number | null)[] } {
  if (values.every(v => v === null || v === undefined || typeof v === 'number')) {
    return { choices: null, values: values.map(v => finite(v)) };
  }
  const said = values.map(v => (v === null || v === undefined ? null : typeof v === 'string' ? v : JSON.stringify(v)));
  const choices = [...new Set(said.filter((v): v is string => v !== null))].sort();
  const index = new Map(choices.map((choice, i) => [choice, i]));
  return { choices, values: said.map(v => (v === null ? null : (index.get(v) ?? null))) };
}

export class SnapshotSource implements StudySource {
  readonly live = 'none' as const;

  constructor(
    private readonly snapshot: Snapshot,
    private readonly refusal: string
  ) {}

  head(): Head {
    return this.snapshot;
  }

  page(query: Query): Promise<Page> {
    return Promise.resolve(pageOf(this.snapshot.trials ?? [], query));
  }

  points(more?: PointsQuery): Promise<Points> {
    return Promise.resolve(pointsOf(this.snapshot.trials ?? [], more));
  }

  control(_action: Action, _payload?: Record<string, unknown>): Promise<void> {
    return Promise.reject(new Error(this.refusal));
  }

  note(_note: NewNote): Promise<void> {
    return Promise.reject(new Error(this.refusal));
  }

  onChange(_callback: () => void): () => void {
    return () => undefined;
  }
}
