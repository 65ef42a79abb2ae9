/**
 * The settings page in the reader's language.
 *
 * JupyterLab's server translates a settings schema only from a language pack of its own, so the
 * messages that come with this extension are put in here, when the schema is fetched.
 */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';

import type { Trans } from './card/source';

interface Titled {
  title?: string;
  description?: string;
  properties?: Record<string, Titled & { oneOf?: Titled[] }>;
}

/** The schema's messages; tests/test_translations.py holds schema/plugin.json to them. */
function messages(trans: Trans): Map<string, string> {
  const told = [
    ['Studies of autoglm_nb: sidebar, status bar and pages.', trans.__('Studies of autoglm_nb: sidebar, status bar and pages.')],
    ['Seconds between updates', trans.__('Seconds between updates')],
    [
      'How often the server is asked while the sidebar or a page is open and a study moves. Nothing is asked while the browser tab is hidden.',
      trans.__(
        'How often the server is asked while the sidebar or a page is open and a study moves. Nothing is asked while the browser tab is hidden.'
      )
    ],
    ['Side of the sidebar', trans.__('Side of the sidebar')],
    ['On which side of the window the list of studies is.', trans.__('On which side of the window the list of studies is.')],
    ['Left', trans.__('Left')],
    ['Right', trans.__('Right')],
    ['Show running studies in the status bar', trans.__('Show running studies in the status bar')],
    [
      'How many studies run, and the best value of the youngest one.',
      trans.__('How many studies run, and the best value of the youngest one.')
    ],
    ['Ask before a study is stopped', trans.__('Ask before a study is stopped')],
    [
      'Finished trials are kept; the same cell continues a stopped study.',
      trans.__('Finished trials are kept; the same cell continues a stopped study.')
    ],
    ['Run an attached cell at once', trans.__('Run an attached cell at once')],
    [
      'Attach inserts a cell that shows the study; it is run at once unless this is off.',
      trans.__('Attach inserts a cell that shows the study; it is run at once unless this is off.')
    ]
  ];
  return new Map(told as [string, string][]);
}

/** Translate the schema of `id` whenever it is fetched; to be called before the settings are loaded. */
export function translateSchema(registry: ISettingRegistry, id: string, trans: Trans): void {
  const told = messages(trans);
  const put = (part: Titled) => {
    part.title = told.get(part.title ?? '') ?? part.title;
    part.description = told.get(part.description ?? '') ?? part.description;
  };
  registry.transform(id, {
    fetch: plugin => {
      const schema = plugin.schema as unknown as Titled;
      put(schema);
      for (const property of Object.values(schema.properties ?? {})) {
        put(property);
        property.oneOf?.forEach(put);
      }
      return plugin;
    }
  });
}
