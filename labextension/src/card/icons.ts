/** Signs drawn as SVG from fixed paths, for what no font draws everywhere. */

const PATHS: Record<string, string> = {
  copy: 'M5 2h8v10h-2v2H3V4h2zm1 1v8h6V3zM4 5v8h6v-1H5V5z',
  note: 'M11.3 1.7l3 3L5.6 13.4 1.8 14.2l.8-3.8zm0 1.4L3.5 10.9l-.4 1.9 1.9-.4 7.8-7.8z',
  star: 'M8 1.5l2 4.3 4.7.6-3.5 3.2.9 4.7L8 12l-4.1 2.3.9-4.7L1.3 6.4 6 5.8zm0 2.4L6.7 6.7l-3 .4 2.2 2-.6 3L8 10.7l2.7 1.4-.6-3 2.2-2-3-.4z',
  starred: 'M8 1.5l2 4.3 4.7.6-3.5 3.2.9 4.7L8 12l-4.1 2.3.9-4.7L1.3 6.4 6 5.8z',
  stop: 'M3.5 3.5h9v9h-9z',
  tag: 'M2 2h6l6.3 6.3-6 6L2 8zm1.3 1.3v4.2l5 5 4.2-4.2-5-5zm1 2.2a1.2 1.2 0 1 1 2.4 0 1.2 1.2 0 0 1-2.4 0z',
  remove: 'M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z'
};

export type IconName = 'copy' | 'note' | 'star' | 'starred' | 'stop' | 'tag' | 'remove';

/** A sign of 16 pixels in the colour of the text around it; hidden from screen readers. */
export function icon(name: IconName): SVGSVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('width', '16');
  svg.setAttribute('height', '16');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', PATHS[name]);
  path.setAttribute('fill', 'currentColor');
  path.setAttribute('fill-rule', 'evenodd');
  svg.append(path);
  return svg;
}
