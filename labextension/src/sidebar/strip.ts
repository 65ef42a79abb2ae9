/** What the machine is doing, in one strip below the list. */

import type { Machine } from '../api';
import { h, setAttribute, setHidden, setText } from '../card/dom';
import type { Trans } from '../card/source';
import { finite } from '../card/words';

export class ResourceStrip {
  readonly root: HTMLElement;

  constructor(private readonly trans: Trans) {
    this.cpu = new Gauge(trans.__('CPU'));
    this.memory = new Gauge(trans.__('Memory'));
    this.gpu = new Gauge(trans.__('GPU'));
    this.root = h(
      'section',
      { class: 'jp-autoglm-strip', 'data-testid': 'autoglm-resources', 'aria-label': trans.__('This machine') },
      this.cpu.root,
      this.memory.root,
      this.gpu.root
    );
    setHidden(this.root, true);
  }

  update(machine: Machine | null): void {
    setHidden(this.root, !machine);
    if (!machine) {
      return;
    }
    const { trans } = this;
    this.cpu.update(machine.cpu_percent, trans.__('%1 %', machine.cpu_percent.toFixed(0)));
    const used = machine.memory_gb.toFixed(1);
    this.memory.update(machine.memory_percent, trans.__('%1 of %2 GB', used, machine.memory_total_gb.toFixed(0)));
    const gpu = finite(machine.gpu_percent);
    this.gpu.update(gpu, gpu === null ? trans.__('none') : trans.__('%1 %', gpu.toFixed(0)));
  }

  private readonly cpu: Gauge;
  private readonly memory: Gauge;
  private readonly gpu: Gauge;
}

class Gauge {
  readonly root: HTMLElement;
  // A div, because no two browsers let a page style `meter` alike.
  private readonly fill = h('span');
  private readonly meter = h(
    'div',
    { class: 'jp-autoglm-meter', role: 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100 },
    this.fill
  );
  private readonly text = h('span', { class: 'jp-autoglm-reading' });

  constructor(label: string) {
    setAttribute(this.meter, 'aria-label', label);
    this.root = h(
      'div',
      { class: 'jp-autoglm-gauge' },
      h('span', { class: 'jp-autoglm-gauge-name' }, label),
      this.meter,
      this.text
    );
  }

  update(percent: number | null, text: string): void {
    const value = Math.min(100, Math.max(0, percent ?? 0));
    this.fill.style.width = `${value}%`;
    setAttribute(this.meter, 'aria-valuenow', value.toFixed(0));
    setAttribute(this.meter, 'aria-valuetext', text);
    setText(this.text, text);
  }
}
