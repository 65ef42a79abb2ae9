/** Whether a record and a study of its name are one study; a name alone is no proof. */

/** What tells two studies of one name apart. */
export interface Marks {
  /** A digest of what was asked for: model, data, space, strategy. */
  identity?: string;
  created_at?: number;
}

/**
 * Whether identity and moment of creation agree, to the second: a record rounds the moment, and one of an older version
 * has none.
 */
export function sameStudy(one: Marks, other: Marks): boolean {
  const [a, b] = [one.created_at, other.created_at];
  const apart = typeof a === 'number' && typeof b === 'number' ? Math.abs(a - b) : 0;
  return one.identity === other.identity && apart < 1;
}
