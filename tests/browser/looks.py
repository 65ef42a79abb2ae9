"""What can be measured of a look: WCAG violations by axe, and the contrast of every text that is in sight."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.browser.server import ROOT

AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
CANVAS_COLOURS = ("quiet", "completed", "pruned", "failed", "best", "baseline", "warn")
"""Custom properties of the card that charts and signs are drawn with."""

_AXE = """([selectors, tags]) => axe.run({include: selectors.map(s => [s])}, {runOnly: tags}).then(r => ({
  violations: r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 160) + ' ' + n.failureSummary)]),
  measured: r.passes.filter(v => v.id === 'color-contrast').reduce((n, v) => n + v.nodes.length, 0),
}))"""

# Colours are blended as they are painted: a text on the first opaque grounds behind it, transparent ones in between.
_CONTRAST = """([selector, names]) => {
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = text => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = text;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) { break; }
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const root = document.querySelector(selector);
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    // WCAG exempts decoration and controls that are disabled.
    if (!text || element.closest(':disabled, [aria-disabled=true], .autoglm-Watermark, .autoglm-Hidden, option')) {
      continue;
    }
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) { continue; }
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const behind = ground(element);
    found.push([ratio(over(rgba(style.color), behind), behind), needed, text.slice(0, 60)]);
  }
  const card = root.matches('.autoglm-Card') ? root : root.querySelector('.autoglm-Card');
  for (const name of card ? names : []) {
    const colour = getComputedStyle(card).getPropertyValue('--autoglm-' + name).trim();
    found.push([colour ? ratio(rgba(colour), ground(card)) : 0, 4.5, '--autoglm-' + name]);
  }
  return found;
}"""


class Contrast(NamedTuple):
    """A text in sight (or a colour that charts are drawn with) against what is painted behind it."""

    ratio: float
    needed: float
    text: str


def contrasts(page: Any, selector: str) -> list[Contrast]:
    """The contrast of every text below the first element that matches, lowest first."""
    return sorted(Contrast(*found) for found in page.evaluate(_CONTRAST, [selector, CANVAS_COLOURS]))


def faint(page: Any, selector: str, least: float = 0) -> list[Contrast]:
    """The texts whose contrast is below WCAG AA's 4.5 (3 where they are large), or below `least`."""
    return [found for found in contrasts(page, selector) if found.ratio < max(found.needed, least)]


def violations(page: Any, *selectors: str) -> list[Any]:
    """What axe finds against WCAG 2.1 A and AA, contrast included, below selectors.

    Raises:
        AssertionError: axe measured the contrast of nothing, so its silence would say nothing.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=str(AXE))
    found = page.evaluate(_AXE, [selectors, TAGS])
    if not found["measured"]:
        raise AssertionError(f"axe measured no contrast below {selectors}")
    return list(found["violations"])


def colours(page: Any, selector: str) -> tuple[str, str]:
    """Text and ground of an element, as computed."""
    text, ground = page.locator(selector).first.evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    )
    return str(text), str(ground)
