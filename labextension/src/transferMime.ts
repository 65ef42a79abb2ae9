/**
 * Draws a transfer record. No command makes one yet: until there is a transfer room, only tests do, and every record is
 * drawn as an example, a foreign notebook's too.
 */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';

import type { TransferCard, TransferRecord } from './card/transfer';
import { words } from './words';

export const TRANSFER_MIME = 'application/vnd.autoglm.transfer.v1+json';

/** A renderer of transfer records. */
export class RenderedTransfer extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly options: IRenderMime.IRendererOptions) {
    super();
    this.addClass('autoglm-Record');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const record = model.data[this.options.mimeType] as unknown as TransferRecord;
    const { TransferCard } = await import('./card/transfer');
    if (!this.isDisposed) {
      this.card?.dispose();
      this.card = new TransferCard(this.node, record, words(this.options.translator));
    }
  }

  override dispose(): void {
    this.card?.dispose();
    this.card = null;
    super.dispose();
  }

  private card: TransferCard | null = null;
}
