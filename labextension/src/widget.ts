/**
 * Model and view of the live widget. The model says hello as soon as it is made, which is how the
 * kernel knows that this extension is there (`notebook/views.py`); the view draws the card.
 */

import { DOMWidgetModel, DOMWidgetView, type ISerializers } from '@jupyter-widgets/base';

import type { StudyCard } from './card/card';
import type { PanelCard } from './card/panelCard';
import { KernelSource, type Parts, type Transport } from './kernelSource';
import { MODULE_NAME } from './names';
import { words } from './words';

const VERSION = '^0.1';
const PARTS = ['head', 'facts', 'curve', 'notes', 'readings'];

export class StudyModel extends DOMWidgetModel {
  static model_name = 'StudyModel';
  static view_name = 'StudyView';
  static override serializers: ISerializers = { ...DOMWidgetModel.serializers };

  override defaults(): ReturnType<DOMWidgetModel['defaults']> {
    return {
      ...super.defaults(),
      _model_name: StudyModel.model_name,
      _model_module: MODULE_NAME,
      _model_module_version: VERSION,
      _view_name: StudyModel.view_name,
      _view_module: MODULE_NAME,
      _view_module_version: VERSION,
      panel: 'card',
      head: {},
      facts: {},
      curve: {},
      notes: {},
      readings: {}
    };
  }

  override initialize(attributes: never, options: never): void {
    super.initialize(attributes, options);
    if (this.comm_live) {
      this.send({ kind: 'hello' }, {});
    }
  }
}

export class StudyView extends DOMWidgetView {
  private card: StudyCard | PanelCard | null = null;
  private source: KernelSource | null = null;

  override render(): void {
    this.el.classList.add('autoglm-Widget');
    void this.draw();
  }

  override remove(): this {
    this.card?.dispose();
    this.source?.dispose();
    this.card = this.source = null;
    return super.remove();
  }

  /** The card's code is fetched when the first one is shown. */
  private async draw(): Promise<void> {
    const [{ StudyCard }, { PanelCard, isPanel }] = await Promise.all([import('./card/card'), import('./card/panelCard')]);
    if (!this.model || this.card || !this.el) {
      return;
    }
    const trans = words();
    this.source = new KernelSource(
      transportOf(this.model as StudyModel),
      trans.__('The kernel does not answer. It may be busy or gone; the record keeps what is known.')
    );
    const panel: unknown = this.model.get('panel');
    this.card = isPanel(panel) ? new PanelCard(this.el, this.source, trans, panel) : new StudyCard(this.el, this.source, trans);
  }
}

function transportOf(model: StudyModel): Transport {
  const listen = (event: string, callback: (...args: any[]) => void): (() => void) => {
    model.on(event, callback);
    return () => model.off(event, callback);
  };
  return {
    get alive() {
      return model.comm_live;
    },
    parts: () => Object.fromEntries(PARTS.map(name => [name, model.get(name)])) as Parts,
    send: content => model.send(content as never, {}),
    onMessage: callback =>
      listen('msg:custom', (content: Record<string, unknown>, buffers: DataView[]) => callback(content, buffers ?? [])),
    onParts: callback => {
      const ends = [
        listen('change', () => {
          if (PARTS.some(name => model.hasChanged(name))) {
            callback();
          }
        }),
        listen('comm_live_update', () => callback())
      ];
      return () => ends.forEach(end => end());
    }
  };
}
