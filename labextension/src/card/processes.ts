/**
 * What each process of a worker uses over time. The worker's own line is whole, those of its children
 * are dashed, each in its own way; four lines at most, the table holds every process.
 */

import type { Reading, ProcessReading, Trans } from './source';
import { clock, finite } from './words';

/** One way to draw a line for each process: its dashes, and the sign of the legend. */
export const LINES: readonly { dash: number[]; sign: string; colour: 'completed' | 'baseline' | 'best' | 'failed' }[] = [
  { dash: [], sign: '━━━', colour: 'completed' },
  { dash: [8, 4], sign: '╍╍╍', colour: 'baseline' },
  { dash: [2, 3], sign: '┅┅┅', colour: 'best' },
  { dash: [10, 3, 2, 3], sign: '━·━', colour: 'failed' }
];

export type Use = 'cpu_percent' | 'memory_gb' | 'gpu_percent' | 'gpu_memory_gb';

function of(reading: Reading): ProcessReading[] {
  return (Array.isArray(reading.processes) ? reading.processes : []).filter(p => finite(p?.pid) !== null);
}

/** Whether a reading is of several processes: with one, the figures of the worker say it all. */
export function severalProcesses(readings: readonly Reading[]): boolean {
  return readings.some(reading => of(reading).length > 1);
}

/** The processes to draw: the worker of the newest readings, then those that were there longest. */
export function drawnProcesses(readings: readonly Reading[]): number[] {
  const seen = new Map<number, number>();
  let worker: number | null = null;
  for (const reading of readings) {
    const found = of(reading);
    worker = found[0]?.pid ?? worker;
    found.forEach(p => seen.set(p.pid, (seen.get(p.pid) ?? 0) + 1));
  }
  const rest = [...seen.keys()].filter(pid => pid !== worker).sort((a, b) => (seen.get(b) ?? 0) - (seen.get(a) ?? 0) || a - b);
  return worker === null ? [] : [worker, ...rest].slice(0, LINES.length);
}

/** A line for each drawn process, null where it has no reading. */
export function processLines(readings: readonly Reading[], pids: readonly number[], use: Use): (number | null)[][] {
  return LINES.map((_, k) => readings.map(reading => finite(of(reading).find(p => p.pid === pids[k])?.[use])));
}

/** Whether any process tells of its use of the GPU. */
export function tellsOf(readings: readonly Reading[], use: Use): boolean {
  return readings.some(reading => of(reading).some(p => finite(p[use]) !== null));
}

/** What a process is called: the first one of a reading is the worker. */
export function processName(pid: number, worker: number | undefined, trans: Trans): string {
  return pid === worker ? trans.__('worker (%1)', pid) : trans.__('process %1', pid);
}

/** A use of something with its unit. */
export function useWords(value: unknown, use: Use): string {
  const given = finite(value);
  return given === null ? '–' : use.endsWith('percent') ? `${given.toFixed(0)} %` : `${given.toFixed(1)} GB`;
}

/** One row for each process and reading, newest first. */
export function processRows(readings: readonly Reading[], trans: Trans): string[][] {
  const uses: Use[] = ['cpu_percent', 'memory_gb', 'gpu_percent', 'gpu_memory_gb'];
  return [...readings].reverse().flatMap(reading => {
    const found = of(reading);
    return found.map(p => [clock(reading.t), processName(p.pid, found[0].pid, trans), ...uses.map(use => useWords(p[use], use))]);
  });
}

/** One reading in words: what each process used. */
export function processWords(reading: Reading | undefined, use: Use, trans: Trans): string {
  const found = reading ? of(reading) : [];
  const said = found.map(p => `${processName(p.pid, found[0].pid, trans)} ${useWords(p[use], use)}`);
  return reading && said.length ? `${clock(reading.t)} · ${said.join(' · ')}` : '';
}
