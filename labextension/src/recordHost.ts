/** Gives widgets and records what JupyterLab hands to plugins alone: the translator and the notebooks. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator } from '@jupyterlab/translation';

import { MODULE_NAME } from './names';
import { setNotebooks } from './notebooks';
import { setTranslator } from './words';

export const recordHost: JupyterFrontEndPlugin<void> = {
  id: `${MODULE_NAME}:records`,
  description: 'Lets records and live views speak the reader’s language and find the notebook’s kernel.',
  autoStart: true,
  optional: [INotebookTracker, ITranslator],
  activate: (_app: JupyterFrontEnd, notebooks: INotebookTracker | null, translator: ITranslator | null) => {
    setNotebooks(notebooks);
    setTranslator(translator);
  }
};
