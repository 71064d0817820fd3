"""``farm serve``: what is known, as a live page and as metrics. Reads only."""
