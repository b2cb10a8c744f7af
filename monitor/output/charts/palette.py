"""Colours of charts: custom properties that a page may set, each with a value that works without it."""

from __future__ import annotations

INK = "currentColor"
MUTED = "var(--chart-muted, #57606a)"
GRID = "var(--chart-grid, #d0d7de)"
PAPER = "var(--chart-paper, #ffffff)"
BASELINE = "var(--chart-baseline, #0072b2)"
CANDIDATE = "var(--chart-candidate, #c04f00)"
ALARM = "var(--chart-alarm, #a3195b)"

# Blue, vermilion and reddish purple of Okabe and Ito's palette for all kinds of colour vision, darkened or lightened
# until text of that colour has a contrast of 4.5 on the paper of its scheme.
CHART_STYLE = """
:root {
  --chart-muted: #57606a; --chart-grid: #d0d7de; --chart-paper: #ffffff;
  --chart-baseline: #0072b2; --chart-candidate: #c04f00; --chart-alarm: #a3195b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --chart-muted: #9da7b1; --chart-grid: #3d444d; --chart-paper: #0d1117;
    --chart-baseline: #56b4e9; --chart-candidate: #f0902f; --chart-alarm: #f08bc0;
  }
}
@media print {
  :root {
    --chart-muted: #57606a; --chart-grid: #d0d7de; --chart-paper: #ffffff;
    --chart-baseline: #0072b2; --chart-candidate: #c04f00; --chart-alarm: #a3195b;
  }
}
svg.chart { display: block; width: 100%; height: auto; max-width: 30rem; font-family: inherit; }
"""
"""Rules for a page that shows charts: colours by scheme, and pictures as wide as their column."""
