/** The columns of the trials table: fixed widths, how each is sorted, and its words. */

import type { Trans, Trial } from './source';
import { Story } from './story';
import { clean, duration, number, TRIAL_MARKS, trialStateName } from './words';

export interface Column {
  key: string;
  title: string;
  width: number;
  numeric?: boolean;
  /** What the list is asked to sort by; absent where it cannot be sorted. */
  sort?: string;
  text(trial: Trial): string;
}

/** Columns for a study with these hyper-parameters. */
export function trialColumns(story: Story, names: readonly string[], trans: Trans): Column[] {
  return [
    { key: 'number', title: '#', width: 64, numeric: true, sort: 'number', text: t => `#${t.number}` },
    {
      key: 'state',
      title: trans.__('State'),
      width: 112,
      sort: 'state',
      text: t => `${TRIAL_MARKS[t.state] ?? '·'} ${trialStateName(t.state, trans)}`
    },
    ...story.objectives.map((name, i) => ({
      key: `values.${i}`,
      title: name.slice(0, 1).toUpperCase() + name.slice(1),
      width: 104,
      numeric: true,
      sort: i ? undefined : 'value',
      text: (t: Trial) => story.values(t)[i] ?? '–'
    })),
    ...names.map(name => ({
      key: `config.${name}`,
      title: clean(name, 40),
      width: Math.min(170, Math.max(96, 26 + 7.6 * name.length)),
      numeric: story.parameters.some(p => p.name === name && p.kind !== 'categorical'),
      sort: `config.${name}`,
      text: (t: Trial) => (t.config && name in t.config ? number(t.config[name], 3, trans) : '·')
    })),
    {
      key: 'proposed_by',
      title: trans.__('Proposed by'),
      width: 190,
      sort: 'proposed_by',
      text: t => clean(t.proposed_by, 80)
    },
    {
      key: 'seconds',
      title: trans.__('Time'),
      width: 76,
      numeric: true,
      sort: 'seconds',
      text: t => (t.seconds ? duration(t.seconds, trans) : '–')
    },
    { key: 'because', title: trans.__('Why it ended'), width: 260, text: t => clean(t.because, 200) }
  ];
}
