"""What configurations ask of their GPUs: how often each phase runs, and the seconds, dispatches and watts of it.

A call of a pipeline is one batch; a last, smaller batch is a call of its own. Rows of alike calls are worked out once,
and each forward pass by :mod:`analysis.laws.work.roofline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.hardware import LIMIT_EXPONENT, SHARES, energy_of_work, headroom_watts, machines, watts
from analysis.laws.work.roofline import CLASSES, distinct_rows, pass_of, seconds_of
from analysis.table import Floats, Integers, Table
from analysis.work import load
from farm import catalog
from farm.domain import PHASES, Configuration

CALL_COLUMNS: Final = ("model", "gpu", "precision", "cfg", "width", "height", "frames", "batch")  # alike: alike calls
_AT_ONCE: Final = 4096  # sizes that are worked out together: bounds the memory


@dataclass(frozen=True, slots=True)
class Demand:
    """What n configurations ask of their GPUs, slot by slot. A slot is a phase of a full batch or of the last, smaller
    one.

    ``times`` (n, S): how often the slot runs. Of one run: ``seconds`` (n, S, 5) by class, ``dispatches`` (n, S) of the
    host, ``megapixels`` (n, S) of images handed over. ``watts`` (n, 6): centres of those above idle. ``headroom`` (n,):
    the enforced power limit less idle, which no long work exceeds.
    """

    times: Floats
    seconds: Floats
    dispatches: Floats
    megapixels: Floats
    watts: Floats
    headroom: Floats


def demand(
    table: Table, groups: tuple[Integers, Integers] | None = None, cudnn: NDArray[np.bool_] | None = None
) -> Demand:
    """Work out what every row asks of its GPU.

    Args:
        table: n configurations.
        groups: ``table.groups(*CALL_COLUMNS)``, where the caller has it already.
        cudnn: whether attention of each row is done by cuDNN, (n,); by default nowhere.

    Raises:
        RequestError: a model or GPU that the catalog does not have, a precision that the model's work has none of.
    """
    first, group = table.groups(*CALL_COLUMNS) if groups is None else groups
    cudnn = np.zeros(len(table), dtype=np.bool_) if cudnn is None else cudnn
    clock = clocks(table)
    if cudnn.any():
        _, first, group = np.unique(2 * group + cudnn, return_index=True, return_inverse=True)
    if (clock < 1).any():
        several, of_row = np.unique(clock, return_inverse=True)
        _, first, group = np.unique(len(several) * group + of_row, return_index=True, return_inverse=True)
    calls, rest = np.divmod(table.prompts, table.batch)
    kernels = _Kernels(cudnn, clock)
    of_calls, batches, slots = [first], [table.batch[first]], [(calls, group)]
    if rest.any():  # the last batch of a row is smaller
        code, unique, inverse = np.unique(group * int(rest.max() + 1) + rest, return_index=True, return_inverse=True)
        of_calls, batches = [first, unique], [table.batch[first], np.maximum(code % int(rest.max() + 1), 1)]
        slots.append((np.minimum(rest, 1), len(first) + inverse))
    of_call = _calls(table, np.concatenate(of_calls), kernels, np.concatenate(batches))
    seconds, dispatches, megapixels = (
        np.concatenate([values[place] for _, place in slots], axis=1) for values in of_call
    )
    times = np.concatenate([_times(table, often) for often, _ in slots], axis=1)
    headroom, limited = _limits(table, clock)
    first, group = table.groups("gpu")
    drawn = np.array([watts(str(name)) for name in table.gpu[first]], dtype=np.float64).reshape(-1, len(SHARES))[group]
    drawn[:, : len(CLASSES)] *= limited[:, None]
    if (clock < 1).any():
        drawn *= (clock * energy_of_work(clock))[:, None]
        drawn[:, CLASSES.index("memory")] /= clock  # its seconds do not follow the clock, its energy does
    return Demand(times, seconds, dispatches, megapixels, drawn, headroom)


@dataclass(frozen=True, slots=True)
class _Kernels:
    """What else a row's kernels depend on: whether cuDNN does attention, and the part of the full clock, (n,) each."""

    cudnn: NDArray[np.bool_]
    clock: Floats


def clocks(table: Table) -> Floats:
    """The part of its GPU's full clock that each row's multiprocessors may run at, (n,): 1 where the row knows no
    limit, or one that is none, or the catalog no clock."""
    if not np.isfinite(table.clock_limit_mhz).any():
        return np.ones(len(table))
    first, group = table.groups("gpu")
    full = [catalog.gpu(str(name)).boost_clock or np.nan for name in table.gpu[first]]
    part = 1e6 * table.clock_limit_mhz / np.array(full, dtype=np.float64)[group]
    return np.where(part < 1, part, 1.0)


def _limits(table: Table, clock: Floats) -> tuple[Floats, Floats]:
    """The watts above idle that each row's board may draw for long, (n,), and the factor that a limit below what its
    chip would draw at its clock puts on the energy of work, (n,). A limit that the row does not know is the board's."""
    first, group = table.groups("gpu")
    headroom = np.array([headroom_watts(str(name)) for name in table.gpu[first]], dtype=np.float64)[group]
    boards = [catalog.gpu(str(name)) for name in table.gpu[first]]
    idle = np.array([board.idle_watts for board in boards], dtype=np.float64)[group]
    board_power = np.array([board.board_power_watts for board in boards], dtype=np.float64)[group]
    limit = np.where(np.isfinite(table.power_limit_watts), np.nan_to_num(table.power_limit_watts), board_power)
    enforced = np.maximum(limit - idle, 0.05 * headroom)
    return enforced, np.minimum(enforced / (headroom * clock * energy_of_work(clock)), 1.0) ** LIMIT_EXPONENT


def _times(table: Table, calls: Integers) -> Floats:
    """How often each row runs a phase, (n, phases), that makes so many calls (n,) of its pipeline."""
    times = np.repeat(calls[:, None], len(PHASES), axis=1).astype(np.float64)
    times[:, PHASES.index("denoise")] *= table.steps
    return times


def _calls(table: Table, first: Integers, kernels: _Kernels, batch: Integers) -> tuple[Floats, Floats, Floats]:
    """Of the calls of each phase: seconds (g, phases, classes), dispatches and megapixels (g, phases). ``first`` (g,):
    a row of each kind of call, ``batch`` (g,): its images."""
    seconds = np.zeros((len(first), len(PHASES), len(CLASSES)))
    dispatches, megapixels = np.zeros((2, len(first), len(PHASES)))
    some = table.take(first)
    representatives, alike = some.groups("model", "precision")
    for place, row in enumerate(representatives):
        at = np.flatnonzero(alike == place)
        for part in np.array_split(at, len(at) // _AT_ONCE + 1):
            kernels_of_part = _Kernels(kernels.cudnn[first[part]], kernels.clock[first[part]])
            seconds[part], dispatches[part] = _calls_of_model(
                some.configuration(int(row)), some.take(part), kernels_of_part, batch[part]
            )
    megapixels[:, PHASES.index("decode")] = batch * some.pixels * some.frames / 2**20
    return seconds, dispatches, megapixels


def _calls_of_model(row: Configuration, table: Table, kernels: _Kernels, batch: Integers) -> tuple[Floats, Floats]:
    """Seconds (n, phases, classes) and dispatches (n, phases) of one call of each row; all are as ``row`` in model and
    precision."""
    work, board = load.load(row.model), table.labels("gpu")
    one, place = distinct_rows(board.codes, kernels.cudnn, kernels.clock)
    of_devices = zip(board.codes[one].tolist(), kernels.cudnn[one].tolist(), kernels.clock[one].tolist(), strict=True)
    devices = machines([(board.names[gpu], cudnn, clock) for gpu, cudnn, clock in of_devices], row.precision)
    seconds = np.zeros((len(table), len(PHASES), len(CLASSES)))
    dispatches = np.zeros((len(table), len(PHASES)))
    for slot, phase in enumerate(PHASES):
        passes = {cfg: work.forwards(phase, cfg) for cfg in set(table.cfg.tolist())}
        calls, samples = (
            np.array([getattr(passes.get(cfg), name, 0) for cfg in (False, True)])[table.cfg.astype(np.int64)]
            for name in ("calls", "samples")
        )
        samples = samples * batch
        for part, single in product(work.parts(phase, table.frames), (True, False)):
            at = np.flatnonzero((samples == 1) == single)
            if len(at):
                work_of_pass = pass_of(row.model, work.digest, phase, row.precision, single, part.decoder)
                sizes = table.width[at], table.height[at], part.layers[at].astype(np.int64), samples[at]
                times = calls[at] * part.share[at]
                seconds[at, slot] += times[:, None] * seconds_of(work_of_pass, sizes, devices, place[at])
                dispatches[at, slot] += times * work_of_pass.dispatches
    return seconds, dispatches
