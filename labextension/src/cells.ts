/** Cells written into the notebook that a person works in. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

import { LOAD_LINE } from './examples';

/** Put a code cell below the active one, select it and, if wished, run it. */
export async function insertCell(
  app: JupyterFrontEnd,
  panel: NotebookPanel,
  source: string,
  run = false
): Promise<void> {
  const notebook = panel.content;
  app.shell.activateById(panel.id);
  const active = notebook.activeCell;
  if (active && active.model.type === 'code' && !active.model.sharedModel.getSource().trim()) {
    active.model.sharedModel.setSource(source); // an empty cell is what the person left to write in
  } else {
    NotebookActions.insertBelow(notebook);
    notebook.activeCell!.model.sharedModel.setSource(source);
  }
  await notebook.scrollToItem(notebook.activeCellIndex).catch(() => undefined);
  if (run) {
    await NotebookActions.run(notebook, panel.sessionContext);
  } else {
    notebook.mode = 'edit';
    notebook.activeCell?.editor?.focus();
  }
}

/**
 * Load the magics in a notebook whose line for that stands there but has not been run. Requests of
 * one kernel are answered in order, so a cell that is run next finds them.
 */
function load(panel: NotebookPanel): void {
  const code = "get_ipython().extension_manager.load_extension('autoglm_nb')"; // says nothing if it is loaded
  panel.sessionContext.session?.kernel?.requestExecute({ code, silent: true, store_history: false });
}

/** Insert a line magic of ours and, if wished, run it. */
export async function insertLine(app: JupyterFrontEnd, panel: NotebookPanel, line: string, run: boolean): Promise<void> {
  const source = withLoading(panel, line);
  if (run && source === line) {
    load(panel);
  }
  await insertCell(app, panel, source, run);
}

/** `source` with the line that loads the magics above it, unless the notebook has that line already. */
function withLoading(panel: NotebookPanel, source: string): string {
  for (const cell of panel.content.model?.cells ?? []) {
    if (cell.type === 'code' && cell.sharedModel.getSource().includes(LOAD_LINE)) {
      return source;
    }
  }
  return `${LOAD_LINE}\n${source}`;
}

/** Insert a `%%autotune` cell; a cell magic must come first, so the magics get a cell of their own. */
export async function insertStudyCell(app: JupyterFrontEnd, panel: NotebookPanel, source: string): Promise<void> {
  if (withLoading(panel, source) === source) {
    load(panel);
  } else {
    await insertCell(app, panel, LOAD_LINE, true);
  }
  await insertCell(app, panel, source);
}

/** The notebook a person works in, or a new one where there is none. */
export async function activeNotebook(app: JupyterFrontEnd, tracker: INotebookTracker, cwd?: string): Promise<NotebookPanel | null> {
  if (tracker.currentWidget) {
    return tracker.currentWidget;
  }
  const made: unknown = await app.commands.execute('notebook:create-new', cwd ? { cwd } : {});
  const panel = made instanceof NotebookPanel ? made : tracker.currentWidget;
  await panel?.context.ready;
  await panel?.revealed;
  return panel;
}
