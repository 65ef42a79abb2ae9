/** The sign of the extension: best-so-far curve with its trials. */

import { LabIcon } from '@jupyterlab/ui-components';

export const studyIcon = new LabIcon({
  name: 'autoglm-nb:studies',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">' +
    '<path class="jp-icon3" fill="#616161" d="M1.5 2v12H15v-1.2H2.7V2z"/>' +
    '<path class="jp-icon3" fill="#616161" d="M4 10.6h2.7V7.4h3.2V4.2H15v1.2h-3.9v3.2H7.9v3.2H4z"/>' +
    '<circle class="jp-icon3" fill="#616161" cx="5.6" cy="5.2" r="1.1"/>' +
    '<circle class="jp-icon3" fill="#616161" cx="12.6" cy="9.2" r="1.1"/></svg>'
});
