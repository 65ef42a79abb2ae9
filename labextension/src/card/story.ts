/**
 * What a snapshot says, in the order in which a person wants to know it: the TypeScript twin of
 * `autoglm_nb/record/story.py`, sentence for sentence.
 */

import type { Head, Note, Score, Trans, Trial } from './source';
import { merged, searchedNames, type Parameter } from './space';
import { clean, configLine, duration, finite, gain, metricName, number, score } from './words';

const ACTIVE = new Set(['queued', 'preparing', 'running', 'confirming']);
const RESUMABLE = new Set(['paused', 'interrupted', 'stopped']);

/** The facts of one snapshot as sentences; tolerant of missing keys. */
export class Story {
  readonly searched: string[];
  readonly parameters: Parameter[];

  constructor(
    readonly head: Head,
    private readonly trans: Trans
  ) {
    this.searched = searchedNames(head.space);
    this.parameters = merged(head.space);
  }

  get name(): string {
    return clean(this.head.study?.name ?? 'study', 80);
  }

  get state(): string {
    return String(this.head.study?.state ?? '');
  }

  get active(): boolean {
    return ACTIVE.has(this.state);
  }

  get resumable(): boolean {
    return RESUMABLE.has(this.state);
  }

  get subject(): string {
    const { model, data } = this.head.study ?? {};
    return [model, data]
      .filter(Boolean)
      .map(part => clean(part, 60))
      .join(' · ');
  }

  get metric(): string {
    return metricName(this.head.study?.metric, this.trans);
  }

  get maximize(): boolean {
    return this.head.study?.direction !== 'minimize';
  }

  get objectives(): string[] {
    const named = (this.head.study?.objectives ?? []).map(name => metricName(name, this.trans));
    return named.length > 1 ? named : [this.metric];
  }

  /** The answer so far. */
  get best(): string {
    const trans = this.trans;
    const front = this.head.front ?? [];
    if (this.objectives.length > 1 && front.length) {
      return trans._n(
        'Pareto front of %1 trial over %2',
        'Pareto front of %1 trials over %2',
        front.length,
        this.objectives.join(trans.__(' and '))
      );
    }
    const value = finite(this.head.headline?.best_value);
    if (value === null) {
      const over = this.state === 'failed' || this.state === 'stopped';
      return over ? trans.__('No result') : trans.__('No result yet');
    }
    const over = this.state === 'finished' || this.state === 'stopped';
    const text = `${score(value)} ${this.metric}`;
    return over ? trans.__('Best %1', text) : trans.__('Best so far %1', text);
  }

  /** The comparison with the default settings, or why there is none; may be empty. */
  get gain(): string {
    const trans = this.trans;
    const { gain: given, best_value } = this.head.headline ?? {};
    if (finite(given) !== null) {
      return trans.__('(%1 over the default settings)', gain(given));
    }
    return finite(best_value) !== null && this.active ? trans.__('(default settings not measured yet)') : '';
  }

  /** How far it is: "trial 11 of 24"; finished studies count what they did. */
  get count(): string {
    const trans = this.trans;
    const finished = Math.trunc(this.head.headline?.finished ?? 0);
    const total = this.head.headline?.total;
    if (this.active && finished < (total || finished + 1)) {
      return total ? trans.__('trial %1 of %2', finished + 1, total) : trans.__('trial %1', finished + 1);
    }
    return total
      ? trans._n('%2 of %1 trial', '%2 of %1 trials', total, finished)
      : trans._n('%1 trial', '%1 trials', finished);
  }

  get timeLeft(): string {
    const left = finite(this.head.headline?.seconds_left);
    return left !== null && this.active ? this.trans.__('about %1 left', duration(left, this.trans)) : '';
  }

  get config(): string {
    return configLine(this.head.headline?.best_config ?? {}, this.searched, this.trans);
  }

  get reason(): string {
    return clean(this.head.study?.reason ?? '', 400);
  }

  /** What a decision system said about the model, in a sentence; "" where nothing came back. */
  get decision(): string {
    const trans = this.trans;
    const given = this.head.decision;
    const verdicts: Record<string, string> = {
      approve: trans.__('Approved'),
      hold: trans.__('On hold'),
      reject: trans.__('Rejected')
    };
    if (!given || !Object.prototype.hasOwnProperty.call(verdicts, given.verdict)) {
      return '';
    }
    const by = given.reviewer ? trans.__(' by %1', clean(given.reviewer, 60)) : '';
    const which =
      given.trial === null || given.trial === undefined
        ? trans.__(' (this study)')
        : trans.__(' (the model of trial %1)', number(given.trial));
    const why = given.reason ? trans.__(': %1', clean(given.reason, 300).replace(/\.+$/, '')) : '';
    const late = given.current ? '' : trans.__(' Another trial has won since; nothing was decided about it.');
    return `${trans.__('%1.', verdicts[given.verdict] + by + which + why)}${late}`;
  }

  get advice(): string {
    return clean(this.head.headline?.next ?? '', 400);
  }

  get running(): Trial[] {
    return (this.head.trials ?? []).filter(t => t.state === 'running');
  }

  /** What is being done while no trial runs. */
  get doing(): string {
    const trans = this.trans;
    switch (this.state) {
      case 'queued':
        return trans.__('Waiting for a worker or for the device');
      case 'preparing':
        return trans.__('Preparing model and data');
      case 'confirming':
        return trans.__('Training winner and default settings again on other seeds, for the test split');
      case 'running':
        return finite(this.head.headline?.baseline_value) === null && !this.head.headline?.finished
          ? trans.__('Measuring the default settings')
          : trans.__('Between two trials');
      case 'paused':
        return trans.__('Paused: running trials keep their place');
      default:
        return trans.__('No trial is running');
    }
  }

  /** The last warning or error of the worker. */
  get message(): { level: string; text: string } | null {
    const found = (this.head.messages ?? []).filter(m => m.level === 'warning' || m.level === 'error');
    const last = found[found.length - 1];
    return last ? { level: last.level, text: clean(last.text, 400) } : null;
  }

  // -- the test split --------------------------------------------------------------------------

  get hasFinal(): boolean {
    return Boolean(this.head.final?.winner);
  }

  get finalCaption(): string {
    const trans = this.trans;
    const final = this.head.final;
    const split = clean(final?.split || 'test', 20);
    const metric = metricName(final?.metric ?? this.head.study?.metric, this.trans);
    const title = metric.slice(0, 1).toUpperCase() + metric.slice(1);
    const rows = final?.rows ? trans.__('%1 %2 rows', final.rows, split) : trans.__('the %1 rows', split);
    const seeds = final?.seeds ?? [];
    const seen =
      split === 'test' ? trans.__('which selection never saw') : trans.__('no test split was given');
    const over = seeds.length
      ? trans._n(', %1 seed (%2)', ', %1 seeds (%2)', seeds.length, seeds.map(s => number(s)).join(', '))
      : '';
    return trans.__('%1 on %2, %3', title, rows, seen) + over;
  }

  /** Who, mean on the test split, 95 % interval. */
  finalRows(): string[][] {
    const trans = this.trans;
    const final = this.head.final;
    const scored = (s: Score | null | undefined): string[] => {
      const low = finite(s?.low);
      const high = finite(s?.high);
      return [score(s?.mean), low === null || high === null ? '–' : trans.__('%1 to %2', score(low), score(high))];
    };
    const rows = [[trans.__('Best configuration'), ...scored(final?.winner)]];
    if (final?.baseline) {
      rows.push([trans.__('Default settings'), ...scored(final.baseline)]);
    }
    if (finite(final?.majority) !== null) {
      rows.push([trans.__('Always the commonest class'), score(final?.majority), '–']);
    }
    return rows;
  }

  /** The paired difference in a sentence that claims no more than the interval carries. */
  get finalSentence(): string {
    const trans = this.trans;
    const paired = this.head.final?.difference;
    const mean = finite(paired?.mean);
    const low = finite(paired?.low);
    const high = finite(paired?.high);
    if (mean === null) {
      return '';
    }
    if (low === null || high === null) {
      return trans.__('Difference to the default settings: %1 (one seed, no interval).', gain(mean));
    }
    const interval = trans.__('95 % interval %1 to %2, paired over seeds', gain(low), gain(high));
    if (low > 0) {
      return trans.__('Better than the default settings by %1 (%2).', gain(mean), interval);
    }
    if (high < 0) {
      return trans.__('Worse than the default settings by %1 (%2).', score(Math.abs(mean)), interval);
    }
    return trans.__(
      'Difference to the default settings %1: not clear from these seeds (%2).',
      gain(mean),
      interval
    );
  }

  // -- trials ----------------------------------------------------------------------------------

  /** A trial's objectives as text; a pruned trial shows its last report, in brackets. */
  values(trial: Trial): string[] {
    if (this.objectives.length > 1) {
      return this.objectives.map((_, i) => score(trial.values?.[i]));
    }
    const value = trialValue(trial);
    const text = score(value);
    return [value !== null && trial.state !== 'completed' ? `(${text})` : text];
  }

  /** What a running trial has so far: its last evaluation and direction, else its loss. */
  soFar(trial: Trial): string {
    const values = (trial.reports ?? []).map(r => finite(r[1])).filter((v): v is number => v !== null);
    if (!values.length) {
      const loss = finite(trial.loss);
      return loss === null ? '' : this.trans.__('loss %1', score(loss));
    }
    const last = values[values.length - 1];
    const before = values[values.length - 2];
    return before === undefined || before === last ? score(last) : `${score(last)} ${last > before ? '↑' : '↓'}`;
  }

  /** What a note is on. */
  noteOn(note: Note): string {
    return note.trial === null || note.trial === undefined
      ? this.trans.__('study')
      : this.trans.__('trial %1', note.trial);
  }
}

/** A trial's value, or its last report where it ended early or still runs. */
export function trialValue(trial: Trial): number | null {
  const value = finite(trial.value);
  if (value === null && (trial.state === 'pruned' || trial.state === 'running')) {
    const reports = trial.reports ?? [];
    return reports.length ? finite(reports[reports.length - 1][1]) : null;
  }
  return value;
}
