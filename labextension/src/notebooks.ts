/** What a record needs of the notebook around it: its kernel, and its neighbours among the outputs. */

import type { CodeCell } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';

let tracker: INotebookTracker | null = null;

/** Remember the notebooks of this application; without them records have no kernel to ask. */
export function setNotebooks(given: INotebookTracker | null): void {
  tracker = given;
}

function panelOf(node: HTMLElement): NotebookPanel | undefined {
  return tracker?.find(panel => panel.node.contains(node));
}

/** The kernel of the notebook that holds a node. */
export function kernelOf(node: HTMLElement): Kernel.IKernelConnection | null {
  return panelOf(node)?.sessionContext.session?.kernel ?? null;
}

/** Whether a live view of a study, the extension's or the stock one, stands beside a record. */
export function besideLiveView(node: HTMLElement): boolean {
  const area = node.closest('.jp-OutputArea');
  return Boolean(area?.querySelector('.autoglm-Widget .autoglm-Card, .jupyter-widgets .widget-vbox, .widget-vbox'));
}

/**
 * Empty live views beside a record that are dead, as the kernel would have done had the page not
 * been reloaded in between: otherwise they show "Error displaying widget" for ever.
 */
export function tidy(node: HTMLElement): void {
  const area = node.closest('.jp-OutputArea');
  const dead = [...(area?.querySelectorAll('.jupyter-widgets') ?? [])].some(
    view => /^Error (displaying|creating) widget|^Loading widget/.test(view.textContent ?? '') || !view.textContent
  );
  const cell = panelOf(node)?.content.widgets.find(widget => widget.node.contains(node));
  if (!dead || cell?.model.type !== 'code') {
    return;
  }
  const outputs = (cell as CodeCell).model.outputs;
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs.get(i).toJSON() as { data?: Record<string, unknown> };
    const text = String(output.data?.['text/plain'] ?? '');
    if (output.data?.[WIDGET_MIME] && text.startsWith('Live view of ')) {
      outputs.set(i, { output_type: 'display_data', data: { 'text/plain': '' }, metadata: {} });
    }
  }
}
