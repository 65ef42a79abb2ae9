/** Where the study of a saved record can be found again, and its newest record. */

import { ServerConnection } from '@jupyterlab/services';

import { Api, type StudyLine } from './api';
import { KernelSource } from './kernelSource';
import { kernelTransport } from './kernelComm';
import type { Snapshot, StudySource } from './card/source';
import { finite } from './card/words';
import { ServerSource } from './serverSource';
import { sameStudy } from './sameStudy';
import { words } from './words';

const LIST_MS = 5000;
/** A record of a study that has ended looks a few times for a late note or decision, then never again. */
const RESTING_ASKS = 3;
let listed: { at: number; studies: Promise<StudyLine[]> } | null = null;

function api(): Api {
  return new Api(ServerConnection.makeSettings(), words());
}

/** The studies of the server; several records of a notebook ask once. */
function studies(): Promise<StudyLine[]> {
  if (!listed || Date.now() - listed.at > LIST_MS) {
    const found = api()
      .studies()
      .then(answer => answer.data?.studies ?? [])
      .catch(() => []);
    listed = { at: Date.now(), studies: found };
  }
  return listed.studies;
}

/** The study of a snapshot, live: from the server, else from the notebook's kernel, else null. */
export async function liveSource(
  snapshot: Snapshot,
  node: HTMLElement,
  visible: () => boolean
): Promise<StudySource | null> {
  const { name, identity, created_at } = snapshot.study;
  const options = { visible, interval: 1000, restingAsks: RESTING_ASKS };
  const alike = (line: StudyLine) => line.name === name && sameStudy({ created_at: line.created_at }, { created_at });
  for (const line of (await studies()).filter(alike)) {
    try {
      const source = await ServerSource.open(api(), { home: line.home, name }, options);
      if (sameStudy(source.head().study, { identity, created_at })) {
        return source;
      }
      source.dispose();
    } catch {
      // Gone meanwhile, or not readable: the next one.
    }
  }
  const trans = words();
  const transport = await kernelTransport(node, { name, identity, created_at: finite(created_at) });
  return transport ? new KernelSource(transport, trans.__('The kernel does not answer. It may be busy or gone.')) : null;
}

/** The bundle to save in place of an older record; null where there is none that differs. */
export async function newerRecord(source: StudySource, old: Snapshot): Promise<Record<string, unknown> | null> {
  if (!(source instanceof ServerSource)) {
    return null;
  }
  try {
    const bundle = await api().record(source.id);
    const mime = Object.keys(bundle).find(key => key.endsWith('+json'));
    const fresh = mime ? (bundle[mime] as Snapshot) : null;
    const same =
      fresh &&
      old.study.state === fresh.study.state &&
      old.headline?.finished === fresh.headline?.finished &&
      JSON.stringify(old.notes) === JSON.stringify(fresh.notes) &&
      Boolean(old.final) === Boolean(fresh.final);
    return fresh && !same ? bundle : null;
  } catch {
    return null;
  }
}
