/**
 * A study by a comm to the kernel of the notebook that holds its record, for servers without the
 * server extension. The kernel side is `notebook/lab_comm.py`.
 */

import type { Parts, Transport } from './kernelSource';
import { kernelOf } from './notebooks';

const TARGET = 'autoglm.study';
const PATIENCE = 3000;

/** Which study a record is of; `created_at` is null in records of older versions. */
export interface RecordOf {
  name: string;
  identity: string;
  created_at: number | null;
}

/** A transport to the study in the kernel of the notebook around `node`; null where it does not know it. */
export async function kernelTransport(node: HTMLElement, study: RecordOf): Promise<Transport | null> {
  const kernel = kernelOf(node);
  if (!kernel || !kernel.handleComms) {
    return null;
  }
  const comm = kernel.createComm(TARGET);
  const parts: Parts = {};
  const callbacks = new Set<() => void>();
  const listeners = new Set<(content: Record<string, unknown>, buffers: DataView[]) => void>();
  let alive = true;
  const first = new Promise<boolean>(resolve => {
    const timer = window.setTimeout(() => resolve(false), PATIENCE);
    comm.onMsg = msg => {
      const content = msg.content.data as Record<string, unknown>;
      if (content.kind === 'parts') {
        Object.assign(parts, content.parts);
        window.clearTimeout(timer);
        resolve(true);
        callbacks.forEach(callback => callback());
        return;
      }
      const buffers = (msg.buffers ?? []).map(b => (b instanceof ArrayBuffer ? new DataView(b) : new DataView(b.buffer, b.byteOffset, b.byteLength)));
      listeners.forEach(listener => listener(content, buffers));
    };
    comm.onClose = () => {
      alive = false;
      window.clearTimeout(timer);
      resolve(false);
      callbacks.forEach(callback => callback());
    };
  });
  comm.open({ ...study });
  if (!(await first)) {
    if (alive && !comm.isDisposed) {
      comm.close();
    }
    return null;
  }
  return {
    get alive() {
      return alive && !comm.isDisposed;
    },
    parts: () => parts,
    send: content => void comm.send(content as never),
    onMessage: callback => {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    onParts: callback => {
      callbacks.add(callback);
      return () => {
        callbacks.delete(callback);
        if (!callbacks.size && !comm.isDisposed) {
          comm.close();
        }
      };
    }
  };
}
