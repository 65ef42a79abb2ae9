/** The translator for code that JupyterLab calls without one: views of widgets and renderers. */

import { nullTranslator, type ITranslator } from '@jupyterlab/translation';

import type { Trans } from './card/source';
import { DOMAIN } from './names';

let translator: ITranslator = nullTranslator;

/** Remember the application's translator. */
export function setTranslator(given: ITranslator | null | undefined): void {
  translator = given ?? nullTranslator;
}

/** The words of this extension in the reader's language. */
export function words(given?: ITranslator | null): Trans {
  return (given ?? translator).load(DOMAIN);
}
