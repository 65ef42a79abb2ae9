/** Names that more than one module of the extension uses. */

/** npm name, module of the widgets, prefix of plugin and command ids. */
export const MODULE_NAME = 'autoglm-nb';

/** Kept equal to package.json and to the Python package by tests/test_versions.py. */
export const MODULE_VERSION = '0.1.0';

/** Translation domain. */
export const DOMAIN = 'autoglm_nb';

/** Plugin that owns the settings; its schema is schema/plugin.json. */
export const SETTINGS_ID = 'autoglm-nb:plugin';
