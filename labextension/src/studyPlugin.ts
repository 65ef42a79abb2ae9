/** Sidebar, status item, pages, commands and launcher card: one plugin around one list of studies. */

import { ILabShell, ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api, StudyId, StudyLine } from './api';
import { addCommands, COMMANDS, IN_PALETTE } from './commands';
import { DOMAIN, MODULE_NAME, SETTINGS_ID } from './names';
import type { StudyPage } from './page';
import { translateSchema } from './schema';
import { Settings } from './settings';
import { Sidebar } from './sidebar/host';
import type { RowAction } from './sidebar/row';
import { StatusItem } from './status';
import { Studies } from './studies';

const SIDEBAR_RANK = 610;

const ROW_COMMANDS: Record<RowAction | 'insert-example', string> = {
  'open-study': COMMANDS.page,
  attach: COMMANDS.attach,
  pause: COMMANDS.pause,
  resume: COMMANDS.resume,
  stop: COMMANDS.stop,
  'open-notebook': COMMANDS.notebook,
  'insert-example': COMMANDS.example
};

export const studyPlugin: JupyterFrontEndPlugin<void> = {
  id: SETTINGS_ID,
  description: 'Studies of this server: sidebar, status bar, pages, commands.',
  autoStart: true,
  optional: [
    ITranslator,
    ISettingRegistry,
    ICommandPalette,
    ILayoutRestorer,
    INotebookTracker,
    IStatusBar,
    ILauncher,
    ILabShell
  ],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    notebooks: INotebookTracker | null,
    statusBar: IStatusBar | null,
    launcher: ILauncher | null,
    labShell: ILabShell | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const studies = new Studies(new Api(app.serviceManager.serverSettings, trans));
    const settings = new Settings();
    const pages = new WidgetTracker<MainAreaWidget<StudyPage>>({ namespace: 'autoglm-study' });

    const sidebar = new Sidebar(
      {
        studies,
        trans,
        run: (action, study?: StudyLine) =>
          void app.commands.execute(ROW_COMMANDS[action], study ? { home: study.home, name: study.name } : {})
      },
      settings.values.pollInterval
    );
    app.shell.add(sidebar, settings.values.side, { rank: SIDEBAR_RANK, type: 'AutoGLM' });
    restorer?.add(sidebar, 'autoglm-sidebar');

    const openPage = async ({ home, name }: StudyId) => {
      const there = () => pages.find(given => given.content.study.home === home && given.content.study.name === name);
      const { StudyPage, studyTab } = await import('./page');
      let tab = there(); // asked for twice in a moment, a study has one page all the same
      if (!tab) {
        const interval = () => 1000 * settings.values.pollInterval;
        tab = studyTab(new StudyPage(studies.api, { home, name }, trans, interval), trans);
        app.shell.add(tab, 'main', { type: 'AutoGLM' });
        await pages.add(tab);
      }
      app.shell.activateById(tab.id);
    };
    addCommands({
      app,
      studies,
      settings,
      trans,
      notebooks,
      showSidebar: () => app.shell.activateById(sidebar.id),
      openPage
    });
    void restorer?.restore(pages, {
      command: COMMANDS.page,
      args: tab => ({ ...tab.content.study }),
      name: tab => `${tab.content.study.home}:${tab.content.study.name}`
    });
    IN_PALETTE.forEach(command => palette?.addItem({ command, category: 'AutoGLM' }));
    if (notebooks) {
      const category = (translator ?? nullTranslator).load('jupyterlab').__('Other');
      launcher?.add({ command: COMMANDS.start, args: { isLauncher: true }, category, rank: 9 });
    }

    const status = statusBar ? new StatusItem(studies, trans, () => void app.commands.execute(COMMANDS.show)) : null;
    if (statusBar && status) {
      statusBar.registerStatusItem(`${MODULE_NAME}:status`, {
        item: status,
        align: 'left',
        rank: 20,
        isActive: () => settings.values.showStatusItem && status.speaks,
        activeStateChanged: studies.changed
      });
    }
    settings.changed.connect((_, values) => {
      sidebar.interval = values.pollInterval;
      const area = labShell && [...labShell.widgets('right')].includes(sidebar) ? 'right' : 'left';
      if (labShell && area !== values.side) {
        app.shell.add(sidebar, values.side, { rank: SIDEBAR_RANK, type: 'AutoGLM' });
      }
      status?.setHidden(!values.showStatusItem || !status.speaks);
    });
    if (registry) {
      translateSchema(registry, SETTINGS_ID, trans);
      settings.follow(registry, SETTINGS_ID).catch(reason => console.warn('AutoGLM keeps its default settings:', reason));
    }
    // The status bar needs a first answer; what is open in JupyterLab comes first.
    void app.restored.then(() => window.setTimeout(() => studies.start(), 1000));
  }
};
