/** The commands: what palette, sidebar, launcher, status bar and cell toolbar all run. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { StudyId, StudyLine } from './api';
import { activeNotebook, insertLine, insertStudyCell } from './cells';
import type { Action, Trans } from './card/source';
import { clean, stateName } from './card/words';
import { EXAMPLE_CELL, quoted } from './examples';
import { studyIcon } from './icon';
import type { Settings } from './settings';
import { can, Studies } from './studies';

export const COMMANDS = {
  show: 'autoglm:show-studies',
  page: 'autoglm:open-study',
  attach: 'autoglm:attach',
  pause: 'autoglm:pause',
  resume: 'autoglm:resume',
  stop: 'autoglm:stop',
  notebook: 'autoglm:open-notebook',
  example: 'autoglm:insert-example',
  start: 'autoglm:new-notebook',
  refresh: 'autoglm:refresh',
  tune: 'autoglm:tune-cell'
} as const;

/** Those of the palette, in its order. */
export const IN_PALETTE = [
  COMMANDS.show,
  COMMANDS.page,
  COMMANDS.attach,
  COMMANDS.pause,
  COMMANDS.resume,
  COMMANDS.stop,
  COMMANDS.example,
  COMMANDS.start,
  COMMANDS.tune,
  COMMANDS.refresh
];

export interface CommandHost {
  readonly app: JupyterFrontEnd;
  readonly studies: Studies;
  readonly settings: Settings;
  readonly trans: Trans;
  readonly notebooks: INotebookTracker | null;
  /** Bring the sidebar to the front. */
  showSidebar(): void;
  /** Open a study's page, or bring it to the front. */
  openPage(id: StudyId): Promise<void>;
}

/** Register them all but `tune`, which is the cell toolbar's. */
export function addCommands(host: CommandHost): void {
  const { app, studies, trans } = host;
  const { commands } = app;
  const add = (id: string, options: CommandRegistry.ICommandOptions) =>
    commands.addCommand(id, { describedBy: { args: STUDY_ARGS }, ...options });
  const someStudy = (fits: (study: StudyLine) => boolean) => () => !studies.known || studies.all.some(fits);

  add(COMMANDS.show, {
    label: trans.__('Show Studies'),
    caption: trans.__('Open the list of the studies of this server'),
    icon: studyIcon,
    execute: () => host.showSidebar()
  });
  add(COMMANDS.page, {
    label: trans.__('Open the Page of a Study…'),
    caption: trans.__('Open a study in a tab of its own'),
    icon: studyIcon,
    isEnabled: someStudy(() => true),
    execute: args => withStudy(host, args, () => true, study => host.openPage(study))
  });
  add(COMMANDS.attach, {
    label: trans.__('Show a Study in This Notebook…'),
    caption: trans.__('Insert a cell that shows a study and follows it'),
    isEnabled: () => host.notebooks !== null && someStudy(() => true)(),
    execute: args => withStudy(host, args, () => true, study => show(host, `%autotune attach ${quoted(study.name)}`))
  });
  add(COMMANDS.pause, {
    label: trans.__('Pause a Study…'),
    caption: trans.__('Free the device; trials go on where they are when the study is resumed'),
    isEnabled: someStudy(study => can(study, 'pause')),
    execute: args => withStudy(host, args, study => can(study, 'pause'), study => ask(host, study, 'pause'))
  });
  add(COMMANDS.resume, {
    label: trans.__('Resume a Study…'),
    caption: trans.__('Let a paused or interrupted study go on'),
    isEnabled: someStudy(resumable),
    execute: args => withStudy(host, args, resumable, study => resume(host, study))
  });
  add(COMMANDS.stop, {
    label: trans.__('Stop a Study…'),
    caption: trans.__('End a study; finished trials are kept'),
    isEnabled: someStudy(study => can(study, 'stop')),
    execute: args => withStudy(host, args, study => can(study, 'stop'), study => stop(host, study))
  });
  add(COMMANDS.notebook, {
    label: trans.__('Open the Notebook of a Study…'),
    isEnabled: someStudy(study => study.notebook_here),
    execute: args =>
      withStudy(host, args, study => study.notebook_here, study =>
        commands.execute('docmanager:open', { path: study.notebook ?? '' })
      )
  });
  add(COMMANDS.example, {
    label: trans.__('Insert an Example Study'),
    caption: trans.__('Insert a cell that starts a small study on data that comes with autoglm_nb'),
    isEnabled: () => host.notebooks !== null,
    execute: () => example(host)
  });
  add(COMMANDS.start, {
    label: args => (args['isLauncher'] ? trans.__('Tune a Model') : trans.__('New Notebook with an Example Study')),
    caption: trans.__('Open a notebook with a cell that starts a small study'),
    icon: studyIcon,
    isEnabled: () => host.notebooks !== null,
    execute: args => newNotebook(host, args['cwd'] ? String(args['cwd']) : undefined)
  });
  add(COMMANDS.refresh, {
    label: trans.__('Refresh the List of Studies'),
    execute: () => studies.refresh()
  });
  studies.changed.connect(() => IN_PALETTE.forEach(id => commands.notifyCommandChanged(id)));
}

const STUDY_ARGS = {
  type: 'object' as const,
  properties: {
    home: { type: 'string' as const, description: 'The id of the store that holds the study' },
    name: { type: 'string' as const, description: 'The name of the study' }
  }
};

function resumable(study: StudyLine): boolean {
  return can(study, 'resume') || study.state === 'interrupted';
}

/** Run something for the study that the arguments name, else for one that the person chooses. */
async function withStudy(
  host: CommandHost,
  args: ReadonlyPartialJSONObject,
  fits: (study: StudyLine) => boolean,
  action: (study: StudyLine) => unknown
): Promise<void> {
  const { studies, trans } = host;
  if (args['name'] !== undefined) {
    const id = { home: String(args['home'] ?? ''), name: String(args['name']) };
    await action(studies.find(id) ?? ({ ...id, state: '' } as StudyLine));
    return;
  }
  await studies.refresh();
  const found = studies.all.filter(fits);
  if (!found.length) {
    Notification.info(studies.fault || trans.__('There is no study for which this can be done.'), { autoClose: 5000 });
    return;
  }
  const items = found.map(study => [study.name, study.model, stateName(study.state, trans)].map(t => clean(t, 60)).join(' · '));
  const chosen = await InputDialog.getItem({ title: trans.__('Which study?'), items, current: 0 });
  const at = chosen.value === null ? -1 : items.indexOf(chosen.value);
  if (chosen.button.accept && at >= 0) {
    await action(found[at]);
  }
}

async function ask(host: CommandHost, study: StudyId, action: Action): Promise<void> {
  try {
    await host.studies.control(study, action);
  } catch (error) {
    Notification.error(error instanceof Error ? error.message : String(error), { autoClose: 10_000 });
  }
}

async function stop(host: CommandHost, study: StudyId): Promise<void> {
  const { trans } = host;
  if (host.settings.values.confirmStop) {
    const answer = await showDialog({
      title: trans.__('Stop %1?', clean(study.name, 80)),
      body: trans.__('Finished trials are kept, and the same cell continues the study later.'),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Let it run') }),
        Dialog.warnButton({ label: trans.__('Stop') })
      ],
      defaultButton: 0
    });
    if (!answer.button.accept) {
      return;
    }
  }
  await ask(host, study, 'stop');
}

/** A paused study is told to go on; one without a worker needs a kernel to start one. */
async function resume(host: CommandHost, study: StudyLine): Promise<void> {
  if (study.state === 'interrupted') {
    await show(host, `%autotune resume ${quoted(study.name)}`);
  } else {
    await ask(host, study, 'resume');
  }
}

async function show(host: CommandHost, line: string): Promise<void> {
  const panel = host.notebooks && (await activeNotebook(host.app, host.notebooks));
  if (panel) {
    await insertLine(host.app, panel, line, host.settings.values.runInserted);
  }
}

async function example(host: CommandHost): Promise<void> {
  const panel = host.notebooks && (await activeNotebook(host.app, host.notebooks));
  if (panel) {
    await insertStudyCell(host.app, panel, EXAMPLE_CELL);
  }
}

async function newNotebook(host: CommandHost, cwd?: string): Promise<unknown> {
  const panel = await host.app.commands.execute('notebook:create-new', cwd ? { cwd } : {});
  await panel?.revealed;
  if (panel) {
    await insertStudyCell(host.app, panel, EXAMPLE_CELL);
  }
  return panel;
}
