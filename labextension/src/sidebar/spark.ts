/** Best so far in a few pixels. Decoration beside the number, so hidden from screen readers. */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 54;
const HEIGHT = 18;
const EDGE = 2;

export class Spark {
  readonly root: SVGSVGElement;
  private readonly line: SVGPolylineElement;
  private readonly end: SVGCircleElement;
  private drawn = '';

  constructor() {
    this.root = document.createElementNS(SVG, 'svg');
    this.root.setAttribute('class', 'jp-autoglm-spark');
    this.root.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.root.setAttribute('aria-hidden', 'true');
    this.line = document.createElementNS(SVG, 'polyline');
    this.end = document.createElementNS(SVG, 'circle');
    this.end.setAttribute('r', '1.8');
    this.end.style.display = 'none';
    this.root.append(this.line, this.end);
  }

  /** Draw `values`, oldest first; nothing with fewer than two. */
  update(values: readonly number[]): void {
    const known = values.filter(Number.isFinite);
    const points = known.length > 1 ? placed(known) : [];
    const drawn = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
    if (drawn === this.drawn) {
      return;
    }
    this.drawn = drawn;
    this.line.setAttribute('points', drawn);
    this.end.style.display = points.length ? '' : 'none';
    if (points.length) {
      const [x, y] = points[points.length - 1];
      this.end.setAttribute('cx', x.toFixed(1));
      this.end.setAttribute('cy', y.toFixed(1));
    }
  }
}

/** A staircase: the best stays what it is until a trial beats it. */
function placed(values: readonly number[]): [number, number][] {
  const low = Math.min(...values);
  const spread = Math.max(...values) - low;
  const x = (i: number) => EDGE + (i * (WIDTH - 2 * EDGE)) / (values.length - 1);
  const y = (v: number) => (spread > 0 ? HEIGHT - EDGE - ((v - low) / spread) * (HEIGHT - 2 * EDGE) : HEIGHT / 2);
  const out: [number, number][] = [[x(0), y(values[0])]];
  for (let i = 1; i < values.length; i++) {
    out.push([x(i), y(values[i - 1])], [x(i), y(values[i])]);
  }
  return out;
}
