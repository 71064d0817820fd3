"""The energy of a configuration as a sum of physical terms, and how it changes with each coefficient.

    E = sum over calls and phases of  sum_c P_c t_c  +  P_wait (t_idle + t_host)
    t_idle = (t_busy^8 + t_launch^8)^(1/8) - t_busy,   t_busy = sum_c t_c,   t_launch = dispatches x launch time

t_c are the seconds of the roofline by class of work; the exponent rounds the corner of max(t_busy, t_launch). Every
coefficient is the exponential of a number that is 0 at its prior centre, so none can be negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.laws.work.roofline import CLASSES, Demand
from analysis.table import Floats

COEFFICIENTS: Final = (*CLASSES, "wait", "launch", "host")
# Their places along the last axis of an array (n, 8).
ACTIVE: Final = slice(0, len(CLASSES))  # watts of each class of work
WAIT: Final = COEFFICIENTS.index("wait")  # watts while waiting
WATTS: Final = slice(0, WAIT + 1)  # all that are watts, as Demand.watts orders them
LAUNCH: Final = COEFFICIENTS.index("launch")
HOST: Final = COEFFICIENTS.index("host")
# Of the host for one dispatch, views among them. A U-Net of 1,750 dispatches makes 22 to 40 steps a second in eager
# PyTorch on an A100 or a faster host, whatever the GPU could do: 14 to 26 us.
LAUNCH_SECONDS: Final = 14e-6
HOST_SECONDS: Final = 0.1  # of the host for a megapixel of finished image: conversion, maybe compression
_CORNER: Final = 8.0


@dataclass(frozen=True, slots=True)
class Response:
    """Of n configurations: joules (n, S) and seconds (n, S) of every slot over all its calls, and ``slope`` (n, 8):
    the derivatives of ln E by the coefficients' logarithms."""

    joules: Floats
    seconds: Floats
    slope: Floats


def respond(demand: Demand, log_coefficients: Floats) -> Response:
    """``log_coefficients`` (n, 8): logarithms of coefficients over prior centres, as COEFFICIENTS orders."""
    factor = np.exp(log_coefficients)
    watts = demand.watts * factor[:, WATTS]
    active, waiting_watts = np.ascontiguousarray(watts[:, ACTIVE]), watts[:, [WAIT]]
    busy = np.einsum("nsc->ns", demand.seconds)
    launch = demand.dispatches * (LAUNCH_SECONDS * factor[:, [LAUNCH]])
    longest = np.maximum(np.maximum(busy, launch), 1e-12)
    whole = longest * ((busy / longest) ** _CORNER + (launch / longest) ** _CORNER) ** (1 / _CORNER)
    host = demand.megapixels * (HOST_SECONDS * factor[:, [HOST]])
    waiting = np.maximum(whole - busy, 0.0) + host
    idle = waiting * waiting_watts
    joules = demand.times * (np.einsum("nsc,nc->ns", demand.seconds, active) + idle)
    total = joules.sum(axis=1)
    slope = np.empty_like(log_coefficients)
    slope[:, ACTIVE] = active * np.einsum("ns,nsc->nc", demand.times, demand.seconds)
    slope[:, WAIT] = (demand.times * idle).sum(axis=1)
    launch_share = (launch / np.maximum(whole, 1e-12)) ** (_CORNER - 1)
    slope[:, LAUNCH] = (demand.times * launch * launch_share).sum(axis=1)
    slope[:, HOST] = (demand.times * host).sum(axis=1)
    slope[:, [LAUNCH, HOST]] *= waiting_watts
    return Response(joules, demand.times * (whole + host), slope / total[:, None])
