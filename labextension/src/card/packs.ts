/** Who shares passes with whom, in words: the TypeScript twin of `autoglm_nb/record/packs.py`. */

import type { Packs, StepCost, Trans } from './source';
import { clean, finite, number } from './words';

/** A trial by its number, another run by its name. */
export function runName(trial: number | string): string {
  return typeof trial === 'number' ? `#${trial}` : clean(trial, 60);
}

/** What a step was predicted to cost and cost, a sentence each, where both are known. */
export function stepCosts(packs: Packs, trans: Trans): string[] {
  const both = (name: keyof StepCost): [number, number] | null => {
    const [measured, predicted] = [finite(packs.measured?.[name]), finite(packs.predicted?.[name])];
    return measured === null || predicted === null ? null : [measured, predicted];
  };
  const [seconds, memory] = [both('seconds_per_step'), both('pass_memory_gb')];
  const out: string[] = [];
  if (seconds) {
    out.push(trans.__('A step: %1 s measured, %2 s predicted', ...seconds.map(s => number(s))));
  }
  if (memory) {
    out.push(trans.__('Memory of a pass: %1 GB measured, %2 GB predicted', ...memory.map(m => number(m, 2))));
  }
  return out;
}
