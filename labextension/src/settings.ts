/** What a person can set (schema/plugin.json), read once and again whenever it changes. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

export interface Values {
  /** Seconds between two questions to the server while something is shown and moves. */
  pollInterval: number;
  side: 'left' | 'right';
  showStatusItem: boolean;
  confirmStop: boolean;
  runInserted: boolean;
}

const DEFAULTS: Values = {
  pollInterval: 2,
  side: 'left',
  showStatusItem: true,
  confirmStop: true,
  runInserted: true
};

export class Settings {
  get values(): Values {
    return this.current;
  }

  get changed(): ISignal<this, Values> {
    return this._changed;
  }

  /** Follow the stored settings; without a registry the defaults stay. */
  async follow(registry: ISettingRegistry, id: string): Promise<void> {
    const settings = await registry.load(id);
    const read = () => {
      const given = settings.composite as Partial<Values>;
      const seconds = Number(given.pollInterval);
      this.current = {
        ...DEFAULTS,
        ...given,
        pollInterval: seconds >= 1 && seconds <= 60 ? seconds : DEFAULTS.pollInterval,
        side: given.side === 'right' ? 'right' : 'left'
      };
      this._changed.emit(this.current);
    };
    settings.changed.connect(read);
    read();
  }

  private current: Values = DEFAULTS;
  private readonly _changed = new Signal<this, Values>(this);
}
