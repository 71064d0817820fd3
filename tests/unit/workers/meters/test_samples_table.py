"""workers.meters.samples.tabulate: a raw log as rows that a spreadsheet takes."""

from __future__ import annotations

from workers.meters.base import Recording, Span
from workers.meters.samples import encode_samples, tabulate


def test_readings_come_in_the_order_of_time_with_the_window_they_lie_in() -> None:
    recording = Recording(
        counter=((10.0, 10.002, 5.0), (11.0, 11.002, 105.0)),
        power=((10.5, 100.0),),
        telemetry=({"time": 10.2, "celsius": 40, "sm_mhz": 1980},),
    )
    rows = tabulate(encode_samples(recording, (Span(label="denoise", start=10.4, end=11.0),)))
    assert [row["seconds"] for row in rows] == [0.0, 0.199, 0.499, 1.0]
    assert [row["energy_joules"] for row in rows] == [5.0, None, None, 105.0]
    assert [row["window"] for row in rows] == [None, None, "denoise", None]
    assert (rows[1]["temperature_c"], rows[1]["clock_mhz"]) == (40, 1980)
    assert rows[2]["power_watts"] == 100.0


def test_a_log_without_readings_is_an_empty_table() -> None:
    assert tabulate(encode_samples(Recording())) == []
