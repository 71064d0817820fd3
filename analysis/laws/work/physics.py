"""Energy and seconds of a configuration as sums of physical terms, and how they change with each coefficient.

    E = sum over calls and phases of  sum_c P_c t_c  +  P_wait (t_idle + t_host)
    t = t_work, or E over (power limit - idle) where that is longer
    t_work = sum over calls and phases of  t_busy + t_idle + t_host
    t_idle = (t_busy^8 + t_launch^8)^(1/8) - t_busy,   t_busy = pace sum_c t_c,   t_launch = dispatches x launch time

t_c are the seconds of the roofline by class of work; exponents round the corners of maxima. A board at its power limit
stretches time rather than draws more. Every coefficient is the exponential of a number that is 0 at its prior centre,
so none can be negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.laws.work.demand import Demand
from analysis.laws.work.roofline import CLASSES
from analysis.table import Floats

COEFFICIENTS: Final = (*CLASSES, "wait", "launch", "host", "pace")
# Their places along the last axis of an array (n, 9).
ACTIVE: Final = slice(0, len(CLASSES))  # watts of each class of work
WAIT: Final = COEFFICIENTS.index("wait")  # watts while waiting
WATTS: Final = slice(0, WAIT + 1)  # all that are watts, as Demand.watts orders them
LAUNCH: Final = COEFFICIENTS.index("launch")
HOST: Final = COEFFICIENTS.index("host")
PACE: Final = COEFFICIENTS.index("pace")  # of busy seconds over the roofline's; watts do not know it
# Of the host for one dispatch, views among them. A U-Net of 1,750 dispatches makes 22 to 40 steps a second in eager
# PyTorch on an A100 or a faster host, whatever the GPU could do: 14 to 26 us.
LAUNCH_SECONDS: Final = 19e-6
HOST_SECONDS: Final = 0.05  # of the host for a megapixel of finished image: conversion, maybe compression
_LIMIT_CORNER: Final = 16.0  # a busy board stands at 0.95 to 0.97 of its limit


@dataclass(frozen=True, slots=True)
class Response:
    """Of n configurations: joules (n, S) and seconds of work (n, S) of every slot over all its calls, and how the sums
    of a row change: ``slope`` (n, 9) of ln E and ``work_slope`` (n, 9) of ln t_work by the coefficients' logarithms.
    ``headroom`` (n,) as in Demand."""

    joules: Floats
    work_seconds: Floats
    slope: Floats
    work_slope: Floats
    headroom: Floats

    def seconds(self, joules: Floats) -> tuple[Floats, Floats]:
        """Seconds of each row that takes ``joules`` (n,) above idle, and the part of their logarithm (n,) that follows
        the seconds of work rather than the energy."""
        work, limit = self.work_seconds.sum(axis=1), joules / self.headroom
        longest = np.maximum(np.maximum(work, limit), 1e-12)
        shares = (work / longest) ** _LIMIT_CORNER, (limit / longest) ** _LIMIT_CORNER
        return longest * (shares[0] + shares[1]) ** (1 / _LIMIT_CORNER), shares[0] / (shares[0] + shares[1])


def _eighth_power(values: Floats) -> Floats:
    """Rounds the corner of a maximum; three products are far cheaper than a power."""
    squares = values * values
    fourth = squares * squares
    return np.asarray(fourth * fourth)


def respond(demand: Demand, log_coefficients: Floats) -> Response:
    """``log_coefficients`` (n, 9): logarithms of coefficients over prior centres, as COEFFICIENTS orders."""
    factor = np.exp(log_coefficients)
    watts = demand.watts * factor[:, WATTS]
    active, waiting_watts = np.ascontiguousarray(watts[:, ACTIVE]), watts[:, [WAIT]]
    busy = np.einsum("nsc->ns", demand.seconds) * factor[:, [PACE]]
    launch = demand.dispatches * (LAUNCH_SECONDS * factor[:, [LAUNCH]])
    longest = np.maximum(np.maximum(busy, launch), 1e-12)
    to_the_eighth = _eighth_power(busy / longest), _eighth_power(launch / longest)
    sum_of_both = np.maximum(to_the_eighth[0] + to_the_eighth[1], 1e-300)
    whole = longest * np.sqrt(np.sqrt(np.sqrt(sum_of_both)))
    host = demand.megapixels * (HOST_SECONDS * factor[:, [HOST]])
    waiting = np.maximum(whole - busy, 0.0) + host
    joules = demand.times * (np.einsum("nsc,nc->ns", demand.seconds, active) + waiting * waiting_watts)
    work = demand.times * (whole + host)
    # Of the whole, by the logarithms of busy and of launch seconds.
    by_busy, by_launch = (whole * part / sum_of_both for part in to_the_eighth)

    def summed(values: Floats) -> Floats:
        return np.asarray((demand.times * values).sum(axis=1))

    slope, work_slope = np.zeros_like(log_coefficients), np.zeros_like(log_coefficients)
    slope[:, ACTIVE] = active * np.einsum("ns,nsc->nc", demand.times, demand.seconds)
    slope[:, WAIT] = summed(waiting)
    slope[:, LAUNCH], slope[:, HOST], slope[:, PACE] = summed(by_launch), summed(host), summed(by_busy - busy)
    work_slope[:, LAUNCH], work_slope[:, HOST], work_slope[:, PACE] = summed(by_launch), summed(host), summed(by_busy)
    slope[:, [WAIT, LAUNCH, HOST, PACE]] *= waiting_watts
    return Response(
        joules, work, slope / joules.sum(axis=1)[:, None], work_slope / work.sum(axis=1)[:, None], demand.headroom
    )
