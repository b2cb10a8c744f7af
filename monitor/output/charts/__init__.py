"""
Charts: measured numbers as small SVG pictures, for the status page and for reports.

In: names, estimates and bounds. Out: one `<svg>` element as text, to be put into an HTML page.
Always: pure; no script and nothing to load; every number is also text; shapes and hatching tell the arms apart as well
as colours do; readable at 360 pixels; an unknown value is labelled as such and never drawn at zero.
"""
