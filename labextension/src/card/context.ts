/** What every part of a card shares: where data comes from, the translator, and ways to speak up. */

import type { StudySource, Trans } from './source';

export interface Context {
  readonly source: StudySource;
  readonly trans: Trans;
  /** Say something through the card's one polite live region. */
  announce(text: string): void;
  /** Run something a person asked for; a failure becomes a sentence in the card. */
  attempt(action: () => Promise<unknown>): void;
  /** Whether requests (pause, note, edit) can be made now. */
  readonly can: boolean;
}

/** A panel below a tab. `update` is called at most twice a second and only while it is shown. */
export interface Panel {
  readonly root: HTMLElement;
  update(): void;
  dispose?(): void;
}

/**
 * The card's live region: gathers what is said within a moment, so that a screen reader hears one
 * sentence, and says nothing twice in a row.
 */
export class Announcer {
  private last = '';
  private waiting: string[] = [];
  private timer = 0;

  constructor(private readonly region: HTMLElement) {}

  say(text: string): void {
    if (!text || this.waiting.includes(text)) {
      return;
    }
    this.waiting.push(text);
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      const sentence = this.waiting.join(' ');
      this.waiting = [];
      if (sentence !== this.last) {
        this.last = sentence;
        this.region.textContent = sentence;
      }
    }, 250);
  }

  dispose(): void {
    window.clearTimeout(this.timer);
  }
}
