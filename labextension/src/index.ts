/**
 * The plugins. What costs anything (widget, sidebar, page) is fetched when it is first shown;
 * until then JupyterLab has paid for a few registrations.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { IJupyterWidgetRegistry } from '@jupyter-widgets/base';

import { DOMAIN, MODULE_NAME, MODULE_VERSION } from './names';
import { recordHost } from './recordHost';
import { studyPlugin } from './studyPlugin';
import { addCellButton } from './toolbar';

/** The live widget of a study. */
const widgets: JupyterFrontEndPlugin<void> = {
  id: `${MODULE_NAME}:widgets`,
  description: 'Model and view of the live study widget.',
  autoStart: true,
  optional: [IJupyterWidgetRegistry],
  activate: (_app: JupyterFrontEnd, registry: IJupyterWidgetRegistry | null) => {
    registry?.registerWidget({
      name: MODULE_NAME,
      version: MODULE_VERSION,
      exports: () => import('./widget')
    });
  }
};

/** The button that makes a study of the data in a cell; its place is in schema/cell-toolbar.json. */
const cellToolbar: JupyterFrontEndPlugin<void> = {
  id: `${MODULE_NAME}:cell-toolbar`,
  description: 'Makes a study of the data in a cell.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, translator: ITranslator | null) => {
    addCellButton(app, tracker, (translator ?? nullTranslator).load(DOMAIN));
  }
};

export default [widgets, recordHost, studyPlugin, cellToolbar];
