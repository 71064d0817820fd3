"""How one configuration is measured: settle, baseline, warm-up, windows, repeats."""
