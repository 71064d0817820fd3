"""Sweeps: a file is read and checked, expanded into jobs, submitted, and asked about afterwards.

``read`` checks a sweep file key by key, ``axes`` the values of a grid, ``spec`` puts the jobs in order, ``prompts``
reads lists of prompts, ``submit`` queues what is neither measured nor queued, ``control`` does the rest.
"""
