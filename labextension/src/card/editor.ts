/**
 * A copy of a trial's configuration as a form: changed here, tried next. Values are checked against
 * the search space, and what is wrong is said beside the field.
 */

import type { Context } from './context';
import { h, setAttribute, setHidden, setText, uid } from './dom';
import type { Config, Trial, Value } from './source';
import { holds, parameters, type Parameter } from './space';
import { clean, number } from './words';

interface Field {
  name: string;
  row: HTMLElement;
  control: HTMLInputElement | HTMLSelectElement;
  fault: HTMLElement;
}

/** The value a text stands for in a range, or a sentence that says what is wrong with it. */
export function parseValue(p: Parameter, text: string): { value: Value } | { fault: 'number' | 'whole' | 'range' | 'choice' } {
  if (Array.isArray(p.choices)) {
    const found = p.choices.find(choice => JSON.stringify(choice) === text);
    return found === undefined ? { fault: 'choice' } : { value: found };
  }
  const value = Number(text.trim().replace(',', '.'));
  if (!text.trim() || !Number.isFinite(value)) {
    return { fault: 'number' };
  }
  if (p.kind === 'int' && !Number.isInteger(value)) {
    return { fault: 'whole' };
  }
  if ((p.low !== undefined && value < p.low) || (p.high !== undefined && value > p.high)) {
    return { fault: 'range' };
  }
  return { value };
}

export class Editor {
  readonly root: HTMLElement;
  private readonly title = h('strong');
  private readonly grid = h('div', { class: 'autoglm-Editor-grid' });
  private fields: Field[] = [];
  private space: Parameter[] = [];
  private back: HTMLElement | null = null;

  constructor(
    private readonly ctx: Context,
    private readonly closed: () => void
  ) {
    const { trans } = ctx;
    this.root = h(
      'form',
      {
        class: 'autoglm-Editor',
        'data-testid': 'autoglm-editor',
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          this.submit();
        },
        onkeydown: (event: KeyboardEvent) => {
          if (event.key === 'Escape') {
            event.stopPropagation();
            this.close();
          }
        }
      },
      h('div', { class: 'autoglm-Line' }, this.title),
      this.grid,
      h(
        'div',
        { class: 'autoglm-Bar' },
        h('button', { type: 'submit', class: 'autoglm-Button autoglm-is-accept' }, trans.__('Add to the queue')),
        h('button', { type: 'button', class: 'autoglm-Button', onclick: () => this.close() }, trans.__('Cancel'))
      )
    );
    this.root.hidden = true;
  }

  /** Open with a copy of a trial. */
  open(trial: Trial): void {
    const { trans } = this.ctx;
    this.back = document.activeElement as HTMLElement | null;
    this.space = parameters(this.ctx.source.head().space).filter(p => p.kind !== 'constant');
    setText(this.title, trans.__('A copy of trial %1, to be tried next', trial.number));
    const names = [...new Set(this.space.map(p => p.name))];
    this.fields = names.map(name => this.field(name, trial.config?.[name]));
    this.grid.replaceChildren(...this.fields.map(f => f.row));
    this.activate();
    setHidden(this.root, false);
    this.fields[0]?.control.focus();
  }

  private field(name: string, value: Value | undefined): Field {
    const id = uid('field');
    const ranges = this.space.filter(p => p.name === name);
    const choices = ranges.every(p => Array.isArray(p.choices)) ? [...new Set(ranges.flatMap(p => p.choices ?? []).map(c => JSON.stringify(c)))] : null;
    const change = (): void => void this.activate();
    let control: HTMLInputElement | HTMLSelectElement;
    if (choices) {
      control = h('select', { id, class: 'autoglm-Input', onchange: change });
      for (const choice of choices) {
        const option = h('option', { value: choice }, number(JSON.parse(choice), 3, this.ctx.trans));
        option.selected = choice === JSON.stringify(value);
        control.append(option);
      }
    } else {
      control = h('input', { id, class: 'autoglm-Input', type: 'text', inputmode: 'decimal', autocomplete: 'off', oninput: change });
      control.value = value === undefined || value === null ? '' : String(value);
    }
    const fault = h('span', { class: 'autoglm-Fault', id: `${id}-fault` });
    setAttribute(control, 'aria-describedby', fault.id);
    const row = h('div', { class: 'autoglm-Field' }, h('label', { for: id }, clean(name, 40)), control, fault);
    return { name, row, control, fault };
  }

  /** The configuration as it stands; fields that no condition reaches are off. */
  private activate(): { config: Config; faults: number } {
    const config: Config = {};
    let faults = 0;
    for (const field of this.fields) {
      const range = this.space.find(p => p.name === field.name && holds(p.condition, config));
      field.control.disabled = !range;
      let sentence = '';
      if (range) {
        const parsed = parseValue(range, field.control.value);
        if ('value' in parsed) {
          config[field.name] = parsed.value;
        } else {
          faults += 1;
          sentence = this.sentence(range, parsed.fault);
        }
      }
      setText(field.fault, sentence);
      setAttribute(field.control, 'aria-invalid', sentence ? 'true' : null);
    }
    return { config, faults };
  }

  private sentence(p: Parameter, fault: string): string {
    const { trans } = this.ctx;
    switch (fault) {
      case 'whole':
        return trans.__('A whole number is needed.');
      case 'range':
        return trans.__('From %1 to %2.', number(p.low), number(p.high));
      case 'choice':
        return trans.__('Choose one of the values.');
      default:
        return trans.__('A number is needed.');
    }
  }

  private submit(): void {
    const { config, faults } = this.activate();
    if (faults) {
      this.fields.find(f => f.control.getAttribute('aria-invalid'))?.control.focus();
      return;
    }
    const { trans } = this.ctx;
    this.close();
    this.ctx.attempt(async () => {
      await this.ctx.source.control('enqueue', { config });
      this.ctx.announce(trans.__('The configuration was queued; it is tried next.'));
    });
  }

  private close(): void {
    setHidden(this.root, true);
    this.closed();
    this.back?.focus();
    this.back = null;
  }
}
