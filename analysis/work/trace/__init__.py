"""Counts the work of a diffusers pipeline on torch's meta device: no weights, no data, no network, no GPU.

The only part of ``analysis`` that knows torch. conventions.py and pipeline.py read what is to be built (no torch),
build.py instantiates it, inputs.py prepares what the denoiser takes, recorder.py writes down every operation.
"""
