/**
 * The server extension's routes, below `<base url>autoglm/api/`.
 *
 * Every answer is `{code, message, data}`; a failure becomes an `ApiError` whose message is the
 * server's sentence. Requests go through JupyterLab's `ServerConnection`, so a base URL, a proxy,
 * a token and the XSRF cookie need no thought here. What is asked again and again carries the
 * ETag of the last answer, so that an unchanged answer costs a few bytes.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { ApiError } from './apiError';
import type { Action, Head, NewNote, Note, Page, Points, PointsQuery, Query, Trans } from './card/source';

export { ApiError };

/** One study in a list; the fields of `StudyLine` in `autoglm_nb/store`. */
export interface StudyLine {
  home: string;
  folder: string;
  name: string;
  state: string;
  reason: string;
  model: string;
  data: string;
  metric: string;
  direction: string;
  best_value: number | null;
  baseline_value: number | null;
  finished: number;
  running: number;
  total: number | null;
  spark: number[];
  device: string;
  queued_behind: string | null;
  active_seconds: number;
  created_at: number;
  updated_at: number;
  notebook: string | null;
  notebook_here: boolean;
}

export interface StudyList {
  studies: StudyLine[];
  /** Stores that could not be read, each with a sentence. */
  faults?: { home: string; folder: string; message: string }[];
}

export interface Machine {
  cpu_percent: number;
  cpu_count: number;
  memory_percent: number;
  memory_gb: number;
  memory_total_gb: number;
  gpu_percent: number | null;
  gpu_memory_gb: number | null;
}

export interface Worker {
  home: string;
  study: string;
  device: string;
  cpu_percent: number;
  memory_gb: number;
  gpu_percent: number | null;
  gpu_memory_gb: number | null;
}

export interface Resources {
  t: number;
  machine: Machine;
  workers: Worker[];
}

/** Which study: the id of its store, and its name there. */
export interface StudyId {
  home: string;
  name: string;
}

/** An answer and its ETag; `data` is null where the ETag given is still good. */
export interface Answer<T> {
  data: T | null;
  etag: string;
}

/** A question without an answer for so long is given up, or everything that waits for it would wait for ever. */
const PATIENCE_MS = 20_000;

export class Api {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly trans: Trans
  ) {}

  studies(etag = ''): Promise<Answer<StudyList>> {
    return this.get<StudyList>('studies', {}, etag);
  }

  async resources(): Promise<Resources> {
    return (await this.get<Resources>('resources')).data!;
  }

  head(id: StudyId, etag = ''): Promise<Answer<Head>> {
    return this.get<Head>(path(id), {}, etag);
  }

  async page(id: StudyId, query: Query): Promise<Page> {
    return (await this.get<Page>(path(id), { trials: 1, ...query })).data!;
  }

  async points(id: StudyId, more: PointsQuery = {}): Promise<Points> {
    const asked = { parameters: more.parameters ? 1 : undefined, objectives: more.objectives ? 1 : undefined };
    return (await this.get<Points>(`${path(id)}/points`, asked)).data!;
  }

  /** The record as a notebook's output holds it, by MIME type. */
  async record(id: StudyId): Promise<Record<string, unknown>> {
    return (await this.get<{ bundle: Record<string, unknown> }>(`${path(id)}/record`)).data!.bundle;
  }

  async control(id: StudyId, action: Action, payload: Record<string, unknown> = {}): Promise<void> {
    await this.send('POST', `${path(id)}/control`, { action, payload });
  }

  /** Stars, tags and comments on a study and its trials, oldest first. */
  async notes(id: StudyId): Promise<Note[]> {
    return (await this.get<{ notes: Note[] }>(`${path(id)}/notes`)).data!.notes;
  }

  /** A star with an empty text takes every star back. */
  async addNote(id: StudyId, note: NewNote): Promise<void> {
    await this.send('POST', `${path(id)}/notes`, note);
  }

  async removeNote(id: StudyId, note: string): Promise<void> {
    await this.send('DELETE', `${path(id)}/notes/${encodeURIComponent(note)}`);
  }

  private async get<T>(path: string, query: object = {}, etag = ''): Promise<Answer<T>> {
    const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
    const search = new URLSearchParams(asked.map(([key, value]) => [key, String(value)])).toString();
    const headers = new Headers(etag ? { 'If-None-Match': etag } : {});
    const giveUp = new AbortController();
    const timer = window.setTimeout(() => giveUp.abort(), PATIENCE_MS);
    const init: RequestInit = { method: 'GET', headers, signal: giveUp.signal };
    const response = await this.request(path + (search ? `?${search}` : ''), init).finally(() => window.clearTimeout(timer));
    if (response.status === 304) {
      return { data: null, etag };
    }
    return { data: (await this.data(response)) as T, etag: response.headers.get('ETag') ?? '' };
  }

  private async send(method: 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    const headers = new Headers({ 'Content-Type': 'application/json' });
    const init: RequestInit = { method, headers };
    if (body) {
      init.body = JSON.stringify(body);
    }
    return this.data(await this.request(path, init));
  }

  private async request(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this.settings.baseUrl, 'autoglm/api') + '/' + path;
    try {
      return await ServerConnection.makeRequest(url, init, this.settings);
    } catch {
      throw new ApiError(this.trans.__('The Jupyter server does not answer. It may have been stopped.'), 0);
    }
  }

  private async data(response: Response): Promise<unknown> {
    let envelope: { code?: unknown; message?: unknown; data?: unknown } | null = null;
    try {
      envelope = await response.json();
    } catch {
      // Not an envelope: a proxy's page, or a server without the extension.
    }
    if (response.ok && envelope?.code === 0) {
      return envelope.data;
    }
    if (envelope && typeof envelope.code === 'number' && typeof envelope.message === 'string') {
      throw new ApiError(envelope.message, response.status);
    }
    throw new ApiError(this.sentence(response.status), response.status);
  }

  private sentence(status: number): string {
    if (status === 404) {
      return this.trans.__(
        'The server extension of autoglm_nb is not running. Enable it with “jupyter server extension enable autoglm_nb”, then start JupyterLab again.'
      );
    }
    if (status === 401 || status === 403) {
      return this.trans.__('The Jupyter server refused the request (%1). Log in again, then reload the page.', status);
    }
    return this.trans.__('The Jupyter server answered with an error (%1).', status);
  }
}

function path(id: StudyId): string {
  return `studies/${encodeURIComponent(id.home)}/${encodeURIComponent(id.name)}`;
}
