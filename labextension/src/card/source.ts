/**
 * What a card draws and where it gets it from.
 *
 * The records are those of `autoglm_nb/protocol.py` (`Snapshot`), plain JSON made by
 * `store.snapshot`. A `StudySource` is the one door of the drawing core: the ipywidgets model, the
 * server's routes and a saved snapshot each implement it, so that a card never knows its host.
 * Text in these records (names, notes, configurations, reasons) is untrusted: it is only ever set
 * as `textContent`.
 */

/** Where a study is; `interrupted` is derived by the store and never stored. */
export type StudyState =
  | 'queued'
  | 'preparing'
  | 'running'
  | 'paused'
  | 'confirming'
  | 'finished'
  | 'stopped'
  | 'failed'
  | 'interrupted';

/** Where a trial is. */
export type TrialState = 'waiting' | 'running' | 'completed' | 'pruned' | 'failed';

/** A hyper-parameter's value as JSON gives it. */
export type Value = string | number | boolean | null;

export type Config = Record<string, Value>;

export interface Trial {
  number: number;
  state: TrialState;
  value: number | null;
  values: number[];
  config: Config;
  proposed_by: string;
  because: string;
  reports: [number, number][];
  progress: number;
  step: number;
  total_steps: number;
  loss: number | null;
  seconds: number;
  attempts: number;
  metrics: Record<string, unknown>;
  starred: boolean;
}

export interface Headline {
  best_value: number | null;
  best_trial: number | null;
  best_config: Config;
  baseline_value: number | null;
  gain: number | null;
  finished: number;
  total: number | null;
  seconds_left: number | null;
  next: string;
}

export interface Score {
  values: number[];
  mean: number;
  low: number;
  high: number;
}

export interface Final {
  metric: string;
  split: string;
  rows: number;
  seeds: number[];
  winner: Score;
  baseline: Score | null;
  majority: number | null;
  difference?: { mean: number; low: number; high: number; p: number };
}

export interface Reading {
  t: number;
  cpu_percent: number;
  memory_gb: number;
  machine_cpu_percent: number;
  machine_memory_percent: number;
  gpu_percent: number | null;
  gpu_memory_gb: number | null;
  /** Where the worker has children: itself first, then the largest of them. */
  processes?: ProcessReading[];
}

/** One process of a worker's tree. */
export interface ProcessReading {
  pid: number;
  cpu_percent: number;
  memory_gb: number;
  gpu_percent: number | null;
  gpu_memory_gb: number | null;
}

/** What part of the variation a hyper-parameter explains, 0 to 1, with its 95 % interval. */
export interface Importance {
  parameter: string;
  value: number;
  low: number;
  high: number;
  /** Whether that is more than noise would get. */
  matters: boolean;
}

export interface Note {
  id: string;
  trial: number | null;
  kind: 'comment' | 'star' | 'tag';
  text: string;
  author: string;
  created_at: number;
}

export interface Study {
  name: string;
  identity: string;
  state: StudyState;
  reason: string;
  model: string;
  task: string;
  data: string;
  metric: string;
  direction: 'maximize' | 'minimize';
  objectives: string[];
  strategy: string;
  pruner: string;
  executor: string;
  device: string;
  seed: number;
  created_at: number;
  active_seconds: number;
  notebook: string | null;
  cell: string;
}

/** Trials that train together in one step, and those that could not. */
export interface Packs {
  now: {
    /** A trial's number, or the name of a run that is no trial. */
    trials: (number | string)[];
    model: string;
    method: string;
    tokens_per_step: number | null;
    passes_per_step: number | null;
    occupancy: number | null;
  }[];
  alone: { trial: number | string; because: string }[];
  predicted?: StepCost | null;
  measured?: StepCost | null;
}

/** What a step costs all that train together. */
export interface StepCost {
  seconds_per_step?: number;
  pass_memory_gb?: number;
}

export interface Message {
  t: number;
  level: 'info' | 'warning' | 'error';
  text: string;
}

/** A whole snapshot, as records and the MIME bundle carry it. */
export interface Snapshot {
  version: number;
  study: Study;
  headline: Headline;
  trials: Trial[];
  trials_total: number;
  curve: [number, number][];
  space: Record<string, unknown>;
  readings: Reading[];
  notes: Note[];
  final: Final | null;
  front: number[];
  provenance: Record<string, unknown>;
  messages: Message[];
  packs?: Packs | null;
  /** What a decision system said of the winner, if it did. */
  decision?: {
    verdict: string;
    reviewer: string;
    reason: string;
    decided_at: string;
    trial: number | null;
    current: boolean;
  };
  /** Greatest first; only where there is evidence. */
  importance?: Importance[];
  /** After how many trials it was computed, where many more have ended since. */
  importance_after?: number;
}

/**
 * A snapshot whose `trials` are only the few that matter at once (running, best, newest): what the
 * widget keeps in its `head` trait and `GET studies/<home>/<name>` returns (there with none).
 * Everything else is asked for by page.
 */
export type Head = Snapshot;

/**
 * What part of the trials table is wanted. `filter` is what a person types: words, and comparisons
 * such as `rank>=16`, `method=lora`, `state:pruned`, `is:starred` (`store.trial_page` has the rules).
 */
export interface Query {
  offset: number;
  limit: number;
  sort?: string; // 'number' | 'state' | 'value' | 'seconds' | 'starred' | 'proposed_by' | 'config.<name>'
  order?: 'asc' | 'desc';
  filter?: string;
}

export interface Page {
  trials: Trial[];
  /** Trials that match the filter, on all pages. */
  total: number;
}

/**
 * Every trial in a few bytes. `states` has one letter a trial:
 * `w` waiting, `r` running, `c` completed, `p` pruned, `f` failed.
 */
export interface Points {
  numbers: number[];
  values: (number | null)[];
  states: string;
  /** Only when asked for: a column for each hyper-parameter; `values` are indices where there are `choices`. */
  parameters?: Record<string, { choices: string[] | null; values: (number | null)[] }>;
  /** Comes with the parameters where it is known: how each trial was proposed. */
  proposed_by?: { choices: string[] | null; values: (number | null)[] };
  /** Only when asked for: one list for each objective, the first included. */
  objectives?: (number | null)[][];
}

/** What `points` should add. With it a source may leave trials out (`numbers` says which are there). */
export interface PointsQuery {
  parameters?: boolean;
  objectives?: boolean;
}

/** What a person may ask of a running study. */
export type Action = 'pause' | 'resume' | 'stop' | 'stop_trial' | 'enqueue';

/** A note to be written; a star is set and taken back by the same `kind: 'star'` with `text` '1' or ''. */
export interface NewNote {
  trial: number | null;
  kind: 'comment' | 'star' | 'tag';
  text: string;
}

/** Where the figures come from: a kernel's widget, the server's routes, or a saved record. */
export type Liveness = 'kernel' | 'server' | 'none';

/**
 * The one door between a card and its host.
 *
 * `head` returns the newest snapshot at once (never asks). `onChange` calls back at most twice a
 * second when it, or `live`, changed, and returns a function that ends this. A promise that
 * rejects carries an `Error` whose message is a sentence for the person.
 */
export interface StudySource {
  readonly live: Liveness;
  head(): Head;
  page(query: Query): Promise<Page>;
  points(more?: PointsQuery): Promise<Points>;
  control(action: Action, payload?: Record<string, unknown>): Promise<void>;
  note(note: NewNote): Promise<void>;
  /** Take back one note; absent where the host cannot. */
  removeNote?(id: string): Promise<void>;
  onChange(callback: () => void): () => void;
  dispose?(): void;
}

/** The part of JupyterLab's `TranslationBundle` that the card uses. */
export interface Trans {
  __(msgid: string, ...args: unknown[]): string;
  _n(singular: string, plural: string, n: number, ...args: unknown[]): string;
}
