"""Figures of an explanation: matplotlib's object interface only, no global state.

Each module draws one kind and returns a `Picture` (or None where there is nothing to
draw). A figure has its own near-white ground, so it reads on a light and on a dark page;
series differ by shape or line style as well as by colour.
"""
