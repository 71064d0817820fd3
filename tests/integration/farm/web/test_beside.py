"""What the law says beside measured rows: asked of it once while it stays, and the same as if it were asked anew."""

from __future__ import annotations

from dataclasses import replace

from farm.domain import Configuration
from farm.web import beside

POINT = Configuration(
    model="flux", gpu="a100", width=1024, height=1024, steps=20, precision="fp16", cfg=False, prompts=1
)  # fmt: skip


def test_a_law_is_asked_once_for_each_configuration(fitted):
    site = fitted.app.state.site
    known = site.knowledge.known()
    asked = [replace(POINT, steps=steps) for steps in (10, 20, 20, 30)]
    first = beside.intervals(site, asked)
    assert first[1] == first[2]
    assert first[0].low < first[0].value < first[1].value < first[1].high
    marked = beside.Interval(1.0, 1.0, 1.0)
    known.intervals[asked[0]] = marked  # whoever asks the law again overwrites it
    again = beside.intervals(site, [*asked, replace(POINT, steps=40)])
    assert again[:4] == [marked, *first[1:]]
    assert again[4].value > first[3].value
    known.intervals.clear()
    assert beside.intervals(site, asked) == first


def test_no_more_is_kept_than_is_looked_at(fitted, monkeypatch):
    site = fitted.app.state.site
    kept = site.knowledge.known().intervals
    monkeypatch.setattr(beside, "KEPT", 3)
    for steps in range(1, 8):
        (interval,) = beside.intervals(site, [replace(POINT, steps=steps)])
        assert interval is not None
        assert len(kept) <= 3


def test_what_the_law_cannot_answer_is_none_beside_what_it_can(fitted):
    site = fitted.app.state.site
    for _ in range(2):  # asked, and kept
        nobody, known = beside.intervals(site, [replace(POINT, model="nobody"), POINT])
        assert nobody is None
        assert known is not None
    assert beside.intervals(site, []) == []
