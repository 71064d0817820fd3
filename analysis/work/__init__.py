"""What a configuration computes and moves.

paper.py prints Tables 3 to 5 of arXiv 2511.17031 as they are; exact.py holds closed forms with full attention;
tables.py evaluates the compact tables that ship with the catalog; trace/ (torch, on demand) counts any diffusers
pipeline on the meta device and makes those tables. Everything but trace/ works with the standard library and numpy.
"""
