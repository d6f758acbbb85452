"""The dashboard: a page that asks this stage's own HTTP API. `static/` is what is served."""
