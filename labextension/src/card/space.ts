/** A search space as `Space.to_json` writes it, read tolerantly: what is searched, and where. */

import type { Config, Trans, Value } from './source';
import { clean, number } from './words';

export interface Parameter {
  name: string;
  kind: 'float' | 'int' | 'categorical' | 'constant';
  low?: number;
  high?: number;
  step?: number | null;
  log?: boolean;
  choices?: Value[];
  value?: Value;
  condition?: unknown;
}

type Record_ = Record<string, unknown>;

function isRecord(value: unknown): value is Record_ {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Dimensions and constants in the order of the cell; one name may have several ranges. */
export function parameters(space: Record_ | null | undefined): Parameter[] {
  const list = (key: string): Record_[] => {
    const found = space?.[key];
    return Array.isArray(found) ? found.filter(isRecord) : [];
  };
  const constants = list('constants').map(p => ({ ...p, kind: 'constant' }) as Record_);
  const named = [...list('dimensions'), ...constants].filter(p => typeof p.name === 'string' && p.name);
  const place = (p: Record_): number => (typeof p.place === 'number' ? p.place : named.length);
  return named.sort((a, b) => place(a) - place(b)) as unknown as Parameter[];
}

/** Names that are searched over, each once; constants left out. */
export function searchedNames(space: Record_ | null | undefined): string[] {
  return [...new Set(parameters(space).filter(p => p.kind !== 'constant').map(p => p.name))];
}

/** Where a parameter may lie: "1e-5 to 0.01, log scale". */
export function rangeWords(p: Parameter, trans: Trans): string {
  if (p.kind === 'constant') {
    return number(p.value, 3, trans);
  }
  if (Array.isArray(p.choices) && p.choices.length) {
    return clean(p.choices.map(c => number(c, 3, trans)).join(', '), 300);
  }
  let text = trans.__('%1 to %2', number(p.low), number(p.high));
  if (p.log) {
    text += trans.__(', log scale');
  }
  if (p.step !== null && p.step !== undefined && p.step !== 1 && p.step !== 0) {
    text += trans.__(', steps of %1', number(p.step));
  }
  return p.kind === 'int' ? text + trans.__(', whole numbers') : text;
}

/** A condition (as `Condition.to_json` writes it) in words: "method in lora, dora". */
export function conditionWords(condition: unknown, trans?: Trans): string {
  if (!isRecord(condition)) {
    return '';
  }
  for (const [key, word] of [
    ['all', trans ? trans.__(' and ') : ' and '],
    ['any', trans ? trans.__(' or ') : ' or ']
  ] as const) {
    const parts = condition[key];
    if (Array.isArray(parts)) {
      return parts
        .map(part => [part, conditionWords(part, trans)] as const)
        .map(([given, part]) => (key === 'all' && isRecord(given) && Array.isArray(given.any) && given.any.length > 1 ? `(${part})` : part))
        .join(word);
    }
  }
  const value = condition.value;
  const listed = Array.isArray(value) ? value.map(v => number(v, 3, trans)).join(', ') : number(value, 3, trans);
  return clean(`${condition.name} ${condition.op} ${listed}`, 200);
}

/** Whether a configuration reaches a parameter; a condition on a missing name does not hold. */
export function holds(condition: unknown, config: Config): boolean {
  if (!isRecord(condition)) {
    return true;
  }
  if (Array.isArray(condition.all)) {
    return condition.all.every(part => holds(part, config));
  }
  if (Array.isArray(condition.any)) {
    return condition.any.some(part => holds(part, config));
  }
  const name = String(condition.name);
  if (!Object.prototype.hasOwnProperty.call(config, name)) {
    return false;
  }
  const left = config[name] as number | string;
  const right = condition.value as number | string;
  switch (condition.op) {
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
    case 'in':
      return Array.isArray(condition.value) && condition.value.includes(left);
    case 'not in':
      return Array.isArray(condition.value) && !condition.value.includes(left);
    default:
      return false;
  }
}

/**
 * Position of a value on its parameter's axis, 0 to 1; null where it has none.
 * Choices are spread evenly, a logarithmic range by its logarithm.
 */
export function position(p: Parameter, value: Value | undefined): number | null {
  if (value === undefined || value === null) {
    return null;
  }
  if (Array.isArray(p.choices)) {
    const key = JSON.stringify(value);
    const at = p.choices.findIndex(choice => JSON.stringify(choice) === key);
    return at < 0 ? null : p.choices.length === 1 ? 0.5 : at / (p.choices.length - 1);
  }
  const [low, high] = [p.low ?? 0, p.high ?? 1];
  if (typeof value !== 'number' || !Number.isFinite(value) || high <= low) {
    return null;
  }
  const scale = p.log && low > 0 ? Math.log : (v: number): number => v;
  return Math.min(1, Math.max(0, (scale(Math.max(value, p.log ? low : value)) - scale(low)) / (scale(high) - scale(low))));
}

/** The value at a position, for the labels of an axis; the inverse of `position` for numbers. */
export function valueAt(p: Parameter, at: number): Value {
  if (Array.isArray(p.choices)) {
    return p.choices[Math.round(at * (p.choices.length - 1))];
  }
  const [low, high] = [p.low ?? 0, p.high ?? 1];
  const value = p.log && low > 0 ? low * (high / low) ** at : low + at * (high - low);
  return p.kind === 'int' ? Math.round(value) : value;
}

/** One entry per name, joining the ranges of a name that has several. */
export function merged(space: Record_ | null | undefined): Parameter[] {
  const found = new Map<string, Parameter>();
  for (const p of parameters(space)) {
    const known = found.get(p.name);
    if (p.kind === 'constant') {
      continue;
    }
    if (!known) {
      found.set(p.name, { ...p });
    } else if (known.choices && p.choices) {
      const keys = new Set(known.choices.map(c => JSON.stringify(c)));
      known.choices = [...known.choices, ...p.choices.filter(c => !keys.has(JSON.stringify(c)))];
    } else if (!known.choices && !p.choices) {
      known.low = Math.min(known.low ?? Infinity, p.low ?? Infinity);
      known.high = Math.max(known.high ?? -Infinity, p.high ?? -Infinity);
    }
  }
  return [...found.values()];
}
