/** Tabs by the WAI-ARIA pattern: one is in the tab order, arrow keys move, panels are made when first shown. */

import type { Panel } from './context';
import { h, setAttribute, setHidden, setText, uid } from './dom';

export interface TabSpec {
  id: string;
  title: string;
  make: () => Panel;
}

interface Tab {
  spec: TabSpec;
  button: HTMLButtonElement;
  panel: HTMLElement;
  content: Panel | null;
}

export class Tabs {
  readonly root: HTMLElement;
  private readonly tabs: Tab[] = [];
  private readonly list: HTMLElement;
  private readonly holder: HTMLElement;
  private current: Tab | null = null;

  constructor(label: string, specs: readonly TabSpec[]) {
    this.list = h('div', {
      class: 'autoglm-Tabs-list',
      role: 'tablist',
      'aria-label': label,
      onkeydown: (event: KeyboardEvent) => this.onKey(event)
    });
    this.holder = h('div', { class: 'autoglm-Tabs-panels' });
    this.root = h('div', { class: 'autoglm-Tabs' }, this.list, this.holder);
    for (const spec of specs) {
      const id = uid(`panel-${spec.id}`);
      const button = h(
        'button',
        {
          type: 'button',
          role: 'tab',
          class: 'autoglm-Tab',
          id: `${id}-tab`,
          'aria-controls': id,
          'data-testid': `autoglm-tab-${spec.id}`,
          onclick: () => this.open(spec.id)
        },
        spec.title
      );
      const panel = h('div', { role: 'tabpanel', id, 'aria-labelledby': `${id}-tab`, class: 'autoglm-TabPanel' });
      panel.hidden = true;
      this.tabs.push({ spec, button, panel, content: null });
      this.list.append(button);
      this.holder.append(panel);
    }
    if (specs.length) {
      this.open(specs[0].id);
    }
  }

  /** Show a tab. */
  open(id: string): void {
    const wanted = this.tabs.find(tab => tab.spec.id === id && !tab.button.hidden);
    if (!wanted) {
      return;
    }
    this.current = wanted;
    for (const tab of this.tabs) {
      const on = tab === wanted;
      setAttribute(tab.button, 'aria-selected', String(on));
      tab.button.tabIndex = on ? 0 : -1;
      setHidden(tab.panel, !on);
    }
    if (!wanted.content) {
      wanted.content = wanted.spec.make();
      wanted.panel.append(wanted.content.root);
    }
    wanted.content.update();
  }

  /** The id of the tab shown. */
  get shown(): string {
    return this.current?.spec.id ?? '';
  }

  /** The content of a tab, if it has been shown yet. */
  content(id: string): Panel | null {
    return this.tabs.find(tab => tab.spec.id === id)?.content ?? null;
  }

  /** Take a tab out of the list (or put it back). */
  offer(id: string, offered: boolean): void {
    const tab = this.tabs.find(t => t.spec.id === id);
    if (tab && tab.button.hidden === offered) {
      setHidden(tab.button, !offered);
      if (!offered && this.current === tab) {
        this.open(this.tabs[0].spec.id);
      }
    }
  }

  /** Change a tab's title. */
  retitle(id: string, title: string): void {
    const tab = this.tabs.find(t => t.spec.id === id);
    if (tab) {
      setText(tab.button, title);
    }
  }

  /** Bring the tab shown up to date. */
  update(): void {
    this.current?.content?.update();
  }

  dispose(): void {
    this.tabs.forEach(tab => tab.content?.dispose?.());
  }

  private onKey(event: KeyboardEvent): void {
    const offered = this.tabs.filter(tab => !tab.button.hidden);
    const at = offered.findIndex(tab => tab === this.current);
    const targets: Record<string, number> = {
      ArrowRight: (at + 1) % offered.length,
      ArrowLeft: (at - 1 + offered.length) % offered.length,
      Home: 0,
      End: offered.length - 1
    };
    if (event.key in targets) {
      event.preventDefault();
      event.stopPropagation();
      const target = offered[targets[event.key]];
      this.open(target.spec.id);
      target.button.focus();
    }
  }
}
