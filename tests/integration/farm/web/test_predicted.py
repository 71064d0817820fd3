"""What the law says beside measured rows: asked of it once while it stays, and the same as if it were asked anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farm.domain import Configuration
from farm.web import predicted

POINT = Configuration(
    model="flux", gpu="a100", width=1024, height=1024, steps=20, precision="fp16", cfg=False, prompts=1
)  # fmt: skip


def test_a_law_is_asked_once_for_each_configuration(fitted):
    site = fitted.app.state.site
    known = site.knowledge.known()
    asked = [replace(POINT, steps=steps) for steps in (11, 22, 22, 33)]
    first = predicted.predicted(site, asked)
    assert first[1] is first[2]
    assert 0.9 * first[0].joules < first[0].joules < first[1].joules
    assert first[0].allows(first[0].joules)
    assert not first[0].allows(10 * first[0].joules)
    again = predicted.predicted(site, [*asked, replace(POINT, steps=44)])
    assert all(one is other for one, other in zip(again, first, strict=False))  # nobody was asked again
    assert again[4].joules > first[3].joules
    known.others.clear()
    for one, other in zip(predicted.predicted(site, asked), first, strict=True):
        assert one is not other
        assert one.joules == other.joules
        assert one.prediction == other.prediction


def test_what_it_says_of_its_own_rows_is_asked_at_once_and_is_what_it_says_of_one(fitted):
    site = fitted.app.state.site
    known = site.knowledge.known()
    answers = known.derived(predicted.of_rows, predicted.of_rows, wait=60)
    rows = list(dict.fromkeys(known.rows.configurations()))
    assert answers.keys() == set(rows)
    known.others.clear()
    (kept,) = predicted.predicted(site, [rows[7]])
    assert kept is answers[rows[7]]
    assert not known.others
    asked, said = fitted.get("/api/predict", params=_asked(rows[7])).json(), kept.prediction.to_dict()
    assert said.pop("configuration") == asked.pop("configuration")
    assert said.pop("phases") == pytest.approx(asked.pop("phases"))
    assert said == pytest.approx(asked)


def _asked(c: Configuration) -> dict[str, object]:
    names = ("model", "gpu", "steps", "precision", "prompts", "batch", "frames")
    return {**{name: getattr(c, name) for name in names}, "resolution": f"{c.width}x{c.height}", "cfg": int(c.cfg)}


def test_no_more_is_kept_than_is_looked_at(fitted, monkeypatch):
    site = fitted.app.state.site
    others = site.knowledge.known().others
    monkeypatch.setattr(predicted, "KEPT", 3)
    for steps in range(61, 68):
        (said,) = predicted.predicted(site, [replace(POINT, steps=steps)])
        assert said is not None
        assert len(others) <= 3


def test_what_the_law_cannot_answer_is_none_beside_what_it_can(fitted):
    site = fitted.app.state.site
    for _ in range(2):  # asked, and kept
        nobody, known = predicted.predicted(site, [replace(POINT, model="nobody"), POINT])
        assert nobody is None
        assert known is not None
    assert predicted.predicted(site, []) == []
