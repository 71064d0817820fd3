"""The report: its content as blocks, the figures, and the two ways to write it."""
