/** Cells that the extension writes. */

/** A small classification study on data that comes with the package's catalogue. */
export const EXAMPLE_CELL = `%%autotune --model minilm --data sentiment-domains/movies --target label --name first-study --trials 8 --max-rows 450
learning_rate = loguniform(5e-4, 4e-3)
rank = choice(4, 8, 16)
epochs = 2`;

export const LOAD_LINE = '%load_ext autoglm_nb';

/** A study's name as a word of a magic's line: quoted only where it must be. */
export function quoted(name: string): string {
  return /^[\w.+@-]+$/.test(name) ? name : `"${name.replace(/(["\\])/g, '\\$1')}"`;
}
