"""Side-by-side measurements; each refuses to print a figure whose conditions did not hold."""
