/**
 * The button in the cell toolbar: from the data of a cell to a `%%autotune` cell below it.
 *
 * The kernel knows best what a name holds and which columns a file has, so it is asked
 * (`autoglm_nb.notebook.suggesting`); while it is busy, starting or without the package, what the
 * cell's text gives away must do.
 */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog, Notification } from '@jupyterlab/apputils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

import type { Trans } from './card/source';
import { clean } from './card/words';
import { insertStudyCell } from './cells';
import { COMMANDS } from './commands';
import { studyIcon } from './icon';

const FILE = /(["'])([^"'\n]{1,200}\.(?:csv|tsv|jsonl|json|parquet))\1/gi;
const MADE = /^[ \t]*([A-Za-z_]\w*)[ \t]*=[^=\n]*\b(?:DataFrame|read_(?:csv|table|json|parquet|excel|feather)|load_dataset|Dataset\.from_\w+|Table\.from_\w+)\b/gm;
const ALONE = /^[ \t]*([A-Za-z_]\w*)(?:\.(?:head|sample|info|describe|shape|columns)\b[^\n]*)?[ \t]*$/gm;
const KERNEL_MS = 1500;
const WORDS = new Set(['pass', 'break', 'continue', 'return', 'else', 'try', 'finally', 'None', 'True', 'False']);

/** Something in a cell that may be tuned on, and the line that does. */
interface Suggestion {
  data: string;
  line: string;
}

/** What the text of a cell gives away: names that hold tables, and data files. */
export function mentioned(source: string): { names: string[]; files: string[] } {
  const all = (pattern: RegExp, group: number) => [...source.matchAll(pattern)].map(found => found[group]);
  const names = [...all(MADE, 1), ...all(ALONE, 1)].filter(name => !WORDS.has(name));
  return { names: [...new Set(names)].slice(0, 20), files: [...new Set(all(FILE, 2))].slice(0, 20) };
}

export function addCellButton(app: JupyterFrontEnd, tracker: INotebookTracker, trans: Trans): void {
  const usable = () => {
    const cell = tracker.activeCell;
    const source = cell?.model.type === 'code' ? cell.model.sharedModel.getSource() : '';
    if (!source || source.startsWith('%%')) {
      return false;
    }
    const { names, files } = mentioned(source);
    return names.length + files.length > 0;
  };
  app.commands.addCommand(COMMANDS.tune, {
    label: args => (args['toolbar'] ? '' : trans.__('Tune a Model on the Data of This Cell')),
    caption: trans.__('Make a study of the table or data file in this cell'),
    icon: studyIcon,
    isEnabled: usable,
    isVisible: usable,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => tune(app, tracker, trans)
  });
  // Whether a cell mentions data changes while one types in it.
  let timer = 0;
  const soon = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => app.commands.notifyCommandChanged(COMMANDS.tune), 300);
  };
  let watched: { contentChanged: { disconnect(slot: () => void): boolean } } | null = null;
  tracker.activeCellChanged.connect((_, cell) => {
    watched?.contentChanged.disconnect(soon);
    watched = cell?.model ?? null;
    cell?.model.contentChanged.connect(soon);
    soon();
  });
}

async function tune(app: JupyterFrontEnd, tracker: INotebookTracker, trans: Trans): Promise<void> {
  const panel = tracker.currentWidget;
  const source = tracker.activeCell?.model.sharedModel.getSource() ?? '';
  if (!panel || !source) {
    return;
  }
  const found = (await asked(panel, source)) ?? guessed(source);
  if (!found.length) {
    Notification.info(trans.__('This cell names no table and no data file. Run it first if it makes one.'), {
      autoClose: 5000
    });
    return;
  }
  let chosen = found[0];
  if (found.length > 1) {
    const items = found.map(given => clean(given.data, 100));
    const answer = await InputDialog.getItem({ title: trans.__('Tune on which data?'), items, current: 0 });
    if (!answer.button.accept || answer.value === null) {
      return;
    }
    chosen = found[items.indexOf(answer.value)] ?? chosen;
  }
  await insertStudyCell(app, panel, `${chosen.line}\nlearning_rate = loguniform(1e-5, 1e-2)\nrank = choice(4, 8, 16)`);
}

/** What the kernel makes of the cell; null if it cannot say soon. */
async function asked(panel: NotebookPanel, source: string): Promise<Suggestion[] | null> {
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel || kernel.status !== 'idle') {
    return null;
  }
  // JSON's string syntax is Python's.
  const { names, files } = mentioned(source);
  const code =
    "__import__('autoglm_nb.notebook.suggesting', fromlist=['_']).suggest_json(" +
    `${JSON.stringify(names)}, ${JSON.stringify(files)}, globals())`;
  try {
    const future = kernel.requestExecute({
      code: '',
      silent: true,
      store_history: false,
      user_expressions: { found: code }
    });
    const late = new Promise<null>(resolve => window.setTimeout(() => resolve(null), KERNEL_MS));
    const reply = await Promise.race([future.done, late]);
    const content = reply?.content as { user_expressions?: Record<string, { data?: Record<string, string> }> } | undefined;
    const text = content?.user_expressions?.['found']?.data?.['text/plain'];
    // The expression's value is shown as Python shows a string: quotes around JSON that is ASCII without either quote.
    return text ? (JSON.parse(decodeURIComponent(text.slice(1, -1))) as Suggestion[]) : null;
  } catch {
    return null;
  }
}

function guessed(source: string): Suggestion[] {
  const { names, files } = mentioned(source);
  const word = (data: string) => (/^[\w./+@-]+$/.test(data) ? data : `"${data.replace(/(["\\])/g, '\\$1')}"`);
  return [...names, ...files].map(data => ({
    data,
    line: `%%autotune --model minilm --data ${word(data)} --target label --trials 12`
  }));
}
