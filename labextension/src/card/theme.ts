/**
 * Colours of the theme for canvases, which cannot read CSS variables.
 *
 * They are resolved from the card's own custom properties (`card.css` defines them for light, dark
 * and high contrast) and again whenever JupyterLab or the operating system changes its theme.
 */

export interface Palette {
  text: string;
  quiet: string;
  grid: string;
  ground: string;
  completed: string;
  pruned: string;
  failed: string;
  best: string;
  baseline: string;
  font: string;
}

/** The colours as they are now for an element inside a card. */
export function palette(element: Element): Palette {
  const style = getComputedStyle(element);
  const read = (name: string, fallback: string): string =>
    style.getPropertyValue(`--autoglm-${name}`).trim() || fallback;
  return {
    text: style.color || '#333',
    quiet: read('quiet', '#616161'),
    grid: read('grid', 'rgba(128,128,128,.28)'),
    ground: read('ground', '#fff'),
    completed: read('completed', '#1565c0'),
    pruned: read('pruned', '#616161'),
    failed: read('failed', '#c62828'),
    best: read('best', '#00695c'),
    baseline: read('baseline', '#6a1b9a'),
    font: `12px ${style.fontFamily || 'sans-serif'}`
  };
}

/** Call back when the theme changes; returns the way to stop that. */
export function onThemeChange(callback: () => void): () => void {
  const observer = new MutationObserver(() => requestAnimationFrame(callback));
  observer.observe(document.body, {
    attributes: true,
    attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class', 'data-vscode-theme-kind']
  });
  const queries = ['(prefers-color-scheme: dark)', '(prefers-contrast: more)', '(forced-colors: active)'].map(q =>
    window.matchMedia(q)
  );
  queries.forEach(query => query.addEventListener('change', callback));
  return () => {
    observer.disconnect();
    queries.forEach(query => query.removeEventListener('change', callback));
  };
}
