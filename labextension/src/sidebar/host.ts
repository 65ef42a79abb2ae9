/** The sidebar's place in JupyterLab; what it shows is fetched when it is first opened. */

import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import type { Studies } from '../studies';
import type { PanelHost } from './panel';
import { studyIcon } from '../icon';

export const SIDEBAR_ID = 'autoglm-studies';

export class Sidebar extends Widget {
  constructor(
    private readonly host: PanelHost,
    private seconds: number
  ) {
    super();
    this.id = SIDEBAR_ID;
    this.layout = new PanelLayout();
    this.addClass('jp-autoglm-host');
    this.title.icon = studyIcon;
    this.title.caption = host.trans.__('Studies (AutoGLM)');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', this.title.caption);
  }

  /** Seconds between two questions to the server while the sidebar is open. */
  set interval(seconds: number) {
    this.seconds = seconds;
    this.watch();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.watch();
    void this.fill();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.watch();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    void this.fill().then(panel => panel?.activate());
  }

  private watch(): void {
    const studies: Studies = this.host.studies;
    studies.watch(this.isVisible, 1000 * this.seconds);
  }

  private fill(): Promise<Widget | null> {
    const layout = this.layout as PanelLayout;
    this.panel ??= import('./panel').then(
      ({ StudiesPanel }) => {
        [...layout.widgets].forEach(sentence => sentence.dispose());
        const panel = new StudiesPanel(this.host);
        layout.addWidget(panel);
        return panel;
      },
      reason => {
        // Most often another version was installed since the page was loaded.
        console.error('AutoGLM:', reason);
        const sentence = new Widget({ node: document.createElement('p') });
        sentence.addClass('jp-autoglm-none');
        sentence.node.setAttribute('role', 'status'); // no list, and so no other live region
        sentence.node.textContent = this.host.trans.__('The list could not be loaded. Reload the page.');
        [...layout.widgets].forEach(earlier => earlier.dispose());
        layout.addWidget(sentence);
        this.panel = null;
        return null;
      }
    );
    return this.panel;
  }

  private panel: Promise<Widget | null> | null = null;
}
