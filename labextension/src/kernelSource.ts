/**
 * A study as its kernel tells it: the parts of the picture come as state, everything else is asked
 * for by messages with a number and answered by messages with the same number.
 *
 * The transport is a widget's model or a comm; what is said is the same (`notebook/lab_view.py`).
 */

import type { Action, Head, NewNote, Page, Points, PointsQuery, Query, Reading, StudySource, Trial } from './card/source';

/** The parts of a picture as `notebook/lab_parts.py` cuts it. */
export interface Parts {
  head?: Record<string, unknown>;
  facts?: Record<string, unknown>;
  curve?: { points?: [number, number][] };
  notes?: { notes?: unknown[]; total?: number };
  readings?: Record<string, unknown[]>;
}

export interface Transport {
  parts(): Parts;
  send(content: Record<string, unknown>): void;
  /** Call back for every message; returns the way to stop that. */
  onMessage(callback: (content: Record<string, unknown>, buffers: DataView[]) => void): () => void;
  /** Call back when a part changed. */
  onParts(callback: () => void): () => void;
  /** Whether anybody is at the other end. */
  readonly alive: boolean;
}

const PATIENCE = 30_000;

/** A head from its parts. */
export function headOf(parts: Parts): Head {
  const { facts, curve, notes } = parts;
  const head = { ...parts.head, ...facts } as unknown as Head & { cell?: string };
  head.study = { ...head.study, cell: String(facts?.cell ?? '') };
  head.curve = curve?.points ?? [];
  head.notes = (notes?.notes ?? []) as Head['notes'];
  head.readings = readingsOf(parts.readings);
  return head;
}

/** Readings from their columns. */
export function readingsOf(columns: Record<string, unknown[]> | undefined): Reading[] {
  const times = columns?.t ?? [];
  const names = Object.keys(columns ?? {});
  return times.map((_, i) => Object.fromEntries(names.map(name => [name, columns?.[name][i] ?? null])) as unknown as Reading);
}

/** Points from a reply and its buffer of 32-bit floats. */
export function pointsFrom(data: Record<string, unknown>, buffers: readonly DataView[]): Points {
  const count = Number(data.count ?? 0);
  const view = buffers[0];
  const values: (number | null)[] = [];
  for (let i = 0; i < count; i++) {
    const value = view ? view.getFloat32(4 * i, true) : NaN;
    values.push(Number.isNaN(value) ? null : Number(value.toPrecision(6)));
  }
  const first = Number(data.first ?? 0);
  const numbers = (data.numbers as number[] | null) ?? values.map((_, i) => first + i);
  return {
    numbers,
    values,
    states: String(data.states ?? ''),
    parameters: data.parameters as Points['parameters'],
    proposed_by: (data.proposed_by ?? undefined) as Points['proposed_by'],
    objectives: data.objectives as Points['objectives']
  };
}

interface Waiting {
  resolve(value: { data: unknown; buffers: DataView[] }): void;
  reject(error: Error): void;
  timer: number;
}

let requests = Math.floor(Math.random() * 1e9); // two pages on one kernel must not answer to each other's numbers

export class KernelSource implements StudySource {
  private readonly callbacks = new Set<() => void>();
  private readonly listeners = new Set<(trials: Trial[]) => void>();
  private readonly waiting = new Map<number, Waiting>();
  private readonly ends: (() => void)[];
  private current: Head | null = null;

  constructor(
    private readonly transport: Transport,
    private readonly silence: string
  ) {
    this.ends = [
      transport.onMessage((content, buffers) => this.onMessage(content, buffers)),
      transport.onParts(() => {
        this.current = null;
        this.callbacks.forEach(callback => callback());
      })
    ];
  }

  get live(): 'kernel' | 'none' {
    return this.transport.alive ? 'kernel' : 'none';
  }

  head(): Head {
    this.current ??= headOf(this.transport.parts());
    return this.current;
  }

  async page(query: Query): Promise<Page> {
    return (await this.ask({ kind: 'page', ...query })).data as Page;
  }

  async points(more: PointsQuery = {}): Promise<Points> {
    const { data, buffers } = await this.ask({ kind: 'points', ...more });
    return pointsFrom(data as Record<string, unknown>, buffers);
  }

  async control(action: Action, payload: Record<string, unknown> = {}): Promise<void> {
    await this.ask({ kind: action, payload });
  }

  async note(note: NewNote): Promise<void> {
    await this.ask({ kind: 'note', note_kind: note.kind, trial: note.trial, text: note.text });
  }

  async removeNote(id: string): Promise<void> {
    await this.ask({ kind: 'remove_note', note: id });
  }

  onChange(callback: () => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  /** Trials that ended, were valued or starred; with an empty list, so many that all should be asked for. */
  onTrials(callback: (trials: Trial[]) => void): () => void {
    this.listeners.add(callback);
    return () => this.listeners.delete(callback);
  }

  dispose(): void {
    this.ends.forEach(end => end());
    this.callbacks.clear();
    this.listeners.clear();
    this.waiting.forEach(w => {
      window.clearTimeout(w.timer);
      w.reject(new Error(this.silence));
    });
    this.waiting.clear();
  }

  private ask(content: Record<string, unknown>): Promise<{ data: unknown; buffers: DataView[] }> {
    if (!this.transport.alive) {
      return Promise.reject(new Error(this.silence));
    }
    const id = ++requests;
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.waiting.delete(id);
        reject(new Error(this.silence));
      }, PATIENCE);
      this.waiting.set(id, { resolve, reject, timer });
      this.transport.send({ ...content, id });
    });
  }

  private onMessage(content: Record<string, unknown>, buffers: DataView[]): void {
    if (content.kind === 'trials') {
      const trials = (content.trials ?? []) as Trial[];
      this.listeners.forEach(listener => listener(trials));
      return;
    }
    if (content.kind !== 'reply') {
      return;
    }
    const waiting = this.waiting.get(Number(content.id));
    if (!waiting) {
      return;
    }
    this.waiting.delete(Number(content.id));
    window.clearTimeout(waiting.timer);
    if (typeof content.error === 'string') {
      waiting.reject(new Error(content.error));
    } else {
      waiting.resolve({ data: content.data, buffers });
    }
  }
}
