/** Where a result comes from: the cell that started it, model, data, versions. */

import type { Context, Panel } from './context';
import { h, table } from './dom';
import type { Trans } from './source';
import { clean, duration, finite, number } from './words';

/** Nested facts as rows, keys joined by a dot, at most `limit` of them. */
export function flat(value: unknown, trans?: Trans, prefix = '', limit = 60): [string, string][] {
  const rows: [string, string][] = [];
  if (typeof value !== 'object' || value === null) {
    return rows;
  }
  for (const [key, item] of Object.entries(value)) {
    const name = clean(`${prefix}${key}`, 60);
    if (Array.isArray(item)) {
      rows.push([name, clean(item.map(v => number(v, 3, trans)).join(', '), 300)]);
    } else if (typeof item === 'object' && item !== null) {
      rows.push(...flat(item, trans, `${name}.`, limit));
    } else if (item !== null && item !== '') {
      rows.push([name, clean(typeof item === 'number' || typeof item === 'boolean' ? number(item, 6, trans) : item, 300)]);
    }
  }
  return rows.slice(0, limit);
}

export class ProvenancePanel implements Panel {
  readonly root = h('div', { class: 'autoglm-Panel autoglm-Scroll', tabindex: 0 });
  private key = '';

  constructor(private readonly ctx: Context) {}

  update(): void {
    const { trans } = this.ctx;
    const head = this.ctx.source.head();
    const study = head.study;
    const key = JSON.stringify([head.provenance, study?.cell, study?.state]);
    if (key === this.key) {
      return;
    }
    this.key = key;
    const facts: [string, unknown][] = [
      [trans.__('task'), study.task],
      [trans.__('strategy'), study.strategy],
      [trans.__('pruner'), study.pruner],
      [trans.__('seed'), study.seed],
      [trans.__('executor'), study.executor],
      [trans.__('device'), study.device]
    ];
    const rows = facts.filter(([, v]) => v !== null && v !== undefined && v !== '').map(([name, v]) => [name, number(v, 3, trans)]);
    if (finite(study.active_seconds) !== null) {
      rows.push([trans.__('training time'), duration(study.active_seconds, trans)]);
    }
    rows.push(...flat(head.provenance, trans));
    const parts: HTMLElement[] = [];
    if (study.cell) {
      const lead = study.notebook
        ? trans.__('The cell that started it, in %1:', clean(study.notebook, 100))
        : trans.__('The cell that started it:');
      parts.push(h('p', { class: 'autoglm-Quiet' }, lead), h('pre', { class: 'autoglm-Code' }, clean(study.cell, 4000, true)));
    }
    parts.push(table(trans.__('Where this result comes from'), [trans.__('What'), trans.__('Value')], rows));
    this.root.replaceChildren(...parts);
  }
}
