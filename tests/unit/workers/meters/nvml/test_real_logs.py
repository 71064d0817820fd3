"""Raw logs of a real board (H200, analysis/data/measured/h200.md), evaluated again: what no fake thought of."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.meters.nvml.evaluate import evaluate
from workers.meters.samples import decode_samples

LOGS = sorted((Path(__file__).parent / "h200").glob("*.samples"))
PASSES = 3


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_phases_shorter_than_a_tick_keep_an_uncertainty_that_says_so(log: Path) -> None:
    """Text takes 28 to 54 ms beside seconds of denoising at the board's limit; the counter ticks every 100 ms. Dividing
    by constant powers gave text 0.06 J with nothing to say that it may be ten."""
    recording, spans = decode_samples(log.read_bytes())
    energy = evaluate(recording, spans)
    text, text_std = energy.dynamic_joules["text"], energy.std_joules["text"]
    assert text > 0
    assert PASSES * 3 < text_std < PASSES * 20
    assert sum(energy.dynamic_joules.values()) == pytest.approx(energy.total_joules)


@pytest.mark.parametrize(("log", "joules"), [*zip(LOGS, (2105.0, 1036.0), strict=True)], ids=[log.stem for log in LOGS])
def test_counter_and_power_log_agree_within_two_percent(log: Path, joules: float) -> None:
    recording, spans = decode_samples(log.read_bytes())
    energy = evaluate(recording, spans)
    assert energy.total_joules / PASSES == pytest.approx(joules, rel=0.01)
    assert energy.power_joules == pytest.approx(energy.total_joules, rel=0.02)
    assert "counter_power_disagree" not in energy.flags
    assert energy.complete
