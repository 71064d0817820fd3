"""Counts the work of a diffusers pipeline on torch's meta device: no weights, no data, no network, no GPU.

The only part of ``analysis`` that knows torch. conventions.py and pipeline.py read what is to be built (no torch),
build.py instantiates it, request.py says what a forward pass is asked for, inputs.py, videos.py and
control.py prepare what denoisers and ControlNets take, recorder.py writes down every operation (operations.py says what
one is), phases.py and compact.py sum them up.
"""
