"""What a configuration computes and moves.

paper.py prints Tables 3 to 5 of arXiv 2511.17031 as they are; format.py says what a compact table of a model holds and
evaluates it; load.py finds the table, which ships with the catalog or is traced by ondemand.py; trace/ (torch) counts
any diffusers pipeline on the meta device and makes those tables. Everything but trace/ works with the standard library
and numpy.
"""
