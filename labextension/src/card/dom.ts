/**
 * The only place where elements are made. Children that are strings become text nodes and
 * attributes are set by name, so data can never turn into markup; nothing here sets `innerHTML`,
 * `href` or `src`.
 */

export type Child = Node | string | null | undefined | false;
export type Handler = (event: never) => void;
export type Attributes = Record<string, string | number | boolean | null | undefined | Handler>;

const FORBIDDEN = new Set(['href', 'src', 'srcdoc', 'style', 'formaction', 'action']);

/** An element: attributes by name, `on…` functions as listeners, children appended. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') {
      element.addEventListener(name.replace(/^on/, ''), value as unknown as EventListener);
    } else {
      setAttribute(element, name, value);
    }
  }
  for (const child of children) {
    if (child) {
      element.append(child);
    }
  }
  return element;
}

/** Set, change or (for null and false) take away an attribute; touches the page only on a change. */
export function setAttribute(
  element: Element,
  name: string,
  value: string | number | boolean | null | undefined
): void {
  if (FORBIDDEN.has(name) || name.startsWith('on')) {
    throw new Error(`The attribute ${name} must not be set from a view.`);
  }
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) {
      element.removeAttribute(name);
    }
    return;
  }
  const text = value === true ? '' : String(value);
  if (element.getAttribute(name) !== text) {
    element.setAttribute(name, text);
  }
}

/** Set the text of an element; touches the page only on a change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Show or hide an element without moving anything else out of its place. */
export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) {
    element.hidden = hidden;
  }
}

/** Empty an element. */
export function clear(element: Element): void {
  element.replaceChildren();
}

let counter = 0;

/** An id that is unique in this page, for `aria-controls` and the like. */
export function uid(prefix: string): string {
  counter += 1;
  return `autoglm-${prefix}-${counter}`;
}

/** A real table: caption, column heads with scope, rows of plain text. */
export function table(caption: string, heads: readonly string[], rows: readonly (readonly string[])[]): HTMLTableElement {
  const body = h('tbody');
  for (const row of rows) {
    body.append(
      h('tr', {}, ...row.map((cell, i) => (i === 0 ? h('th', { scope: 'row' }, cell) : h('td', {}, cell))))
    );
  }
  return h(
    'table',
    { class: 'autoglm-Table' },
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, ...heads.map(head => h('th', { scope: 'col' }, head)))),
    body
  );
}

/** A quiet line for a panel that has nothing to show yet. */
export function empty(text: string): HTMLElement {
  return h('p', { class: 'autoglm-Empty' }, text);
}
