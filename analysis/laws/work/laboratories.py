"""What a laboratory does that its rows may leave unsaid: the idle watts that it takes off, how new its kernels are.

A row that states it is taken at its word. Of the others, a laboratory is taken to do on a GPU type as it does in the
rows that say, else as the other laboratories do there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.hardware import CUDNN_SINCE, has_cudnn_attention
from analysis.table import Floats, Table
from farm import catalog

OWN_METER: Final = "nvml"  # of workers.meters

_CUDNN_DAY: Final = CUDNN_SINCE.toordinal() - date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Idles:
    """The idle watts that laboratories took off their energies, where rows state them, by data set and GPU.

    A context that keeps the clocks up draws more than a board at rest (an H100: 122 W, 72 W), and some laboratories
    take the one off, some the other. The law's energies are above the catalog's watts at rest, whoever measured. A row
    of this project's own meter that does not state its watts has those of a context off: its baseline is taken with
    the pipeline resident.
    """

    stated: Mapping[str, Mapping[str, float]]  # GPU -> data set -> mean watts

    @classmethod
    def of(cls, table: Table) -> Self:
        sums: dict[str, dict[str, list[float]]] = {}
        rows = np.flatnonzero((table.idle_watts > 0) & ~table.includes_idle)
        gpus, datasets, watts = (values[rows].tolist() for values in (table.gpu, table.dataset, table.idle_watts))
        for gpu, dataset, value in zip(gpus, datasets, watts, strict=True):
            if not catalog.gpu(gpu).is_processor:
                sums.setdefault(gpu, {}).setdefault(dataset, []).append(value)
        return cls({gpu: {name: float(np.mean(w)) for name, w in by.items()} for gpu, by in sums.items()})

    def beyond_catalog(self, table: Table) -> Floats:
        """What was taken off each row beyond the watts of the catalog, (n,): by the row itself, or as its laboratory
        does on that GPU; rows of a laboratory that stated none are taken as the others on that GPU. 0 where nobody
        stated any, and where idle power is in the energy."""
        catalogued = idle_watts(table)
        result = np.where(table.idle_watts > 0, table.idle_watts, np.nan)
        first, group = table.groups("gpu", "dataset")
        usual, of_context = np.full(len(first), np.nan), np.full(len(table), np.nan)
        pairs = zip(table.gpu[first].tolist(), table.dataset[first].tolist(), strict=True)
        for place, (gpu, dataset) in enumerate(pairs):
            by_dataset = self.stated.get(gpu, {})
            if by_dataset:
                usual[place] = by_dataset.get(dataset, float(np.mean(list(by_dataset.values()))))
            elif (context := catalog.gpu(gpu).context_idle_watts) is not None:
                of_context[group == place] = context
            if catalog.gpu(gpu).is_processor:
                result[group == place] = np.nan
        result = np.where(np.isnan(result), usual[group], result)
        result = np.where(np.isnan(result) & (table.meter == OWN_METER), of_context, result)
        return np.where(table.includes_idle, 0.0, np.nan_to_num(result - catalogued))


@dataclass(frozen=True, slots=True)
class Days:
    """When the newest row of each GPU and data set was measured, in days from 1970: how new its kernels are."""

    newest: Mapping[str, Mapping[str, float]]  # GPU -> data set -> day

    @classmethod
    def of(cls, table: Table) -> Self:
        newest: dict[str, dict[str, float]] = {}
        rows = np.flatnonzero(np.isfinite(table.measured_day))
        gpus, datasets, days = (values[rows].tolist() for values in (table.gpu, table.dataset, table.measured_day))
        for gpu, dataset, day in zip(gpus, datasets, days, strict=True):
            by_dataset = newest.setdefault(gpu, {})
            by_dataset[dataset] = max(day, by_dataset.get(dataset, day))
        return cls(newest)

    def cudnn(self, table: Table) -> NDArray[np.bool_]:
        """Whether attention of each row is done by cuDNN, (n,): by its own day or, without one, by its laboratory's
        newest on that GPU or, without one, by anybody's. Where nobody knows a day, it is FlashAttention-2: most
        measurements that were published are older."""
        first, group = table.groups("gpu", "dataset")
        usual, able = np.full(len(first), np.nan), np.zeros(len(first), dtype=np.bool_)
        pairs = zip(table.gpu[first].tolist(), table.dataset[first].tolist(), strict=True)
        for place, (gpu, dataset) in enumerate(pairs):
            by_dataset = self.newest.get(gpu, {})
            if by_dataset:
                usual[place] = by_dataset.get(dataset, max(by_dataset.values()))
            able[place] = has_cudnn_attention(gpu)
        day = np.where(np.isnan(table.measured_day), usual[group], table.measured_day)
        return np.asarray(able[group] & (day >= _CUDNN_DAY), dtype=np.bool_)


def idle_watts(table: Table) -> Floats:
    """Of each row's GPU, by the catalog, (n,)."""
    first, group = table.groups("gpu")
    watts = [catalog.gpu(str(name)).idle_watts for name in table.gpu[first]]
    return np.array(watts, dtype=np.float64)[group]


def included_watts(table: Table) -> Floats:
    """Idle watts of rows that have them in their energy, before their laboratory's effect, (n,): stated, or by the
    catalog."""
    return np.where(table.idle_watts > 0, table.idle_watts, idle_watts(table))
