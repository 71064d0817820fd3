"""Compare: models and GPU types at the same settings, from one call of the law."""

from __future__ import annotations

import re

import pytest

from farm import catalog

QUERY = "resolution=1024&steps=28&precision=fp16"


def cells(page: str) -> dict[tuple[str, str], tuple[float, str]]:
    """Joules and class of every cell of the heat map, by GPU type and model."""
    models = re.findall(r'<th scope="col"><span>([^<]+)</span>', page)
    found = {}
    for gpu, line in re.findall(r'<tr><th scope="row">([^<]+)</th>(.*?)</tr>', page, re.DOTALL):
        for model, cell in zip(models, re.findall(r"<td.*?</td>", line, re.DOTALL), strict=True):
            shade, joules = re.search(r'class="([^"]+)" data-joules="([^"]+)"', cell).groups()
            found[gpu, model] = (float(joules), shade)
    return found


def compared(client, query: str) -> str:
    """The page, when what it compares is worked out."""
    while "comes by itself" in (page := client.get(f"/compare?{query}").text):
        pass
    return page


def board(page: str) -> list[tuple[str, float, float]]:
    lines = re.findall(r'<tr data-joules="([^"]+)" data-seconds="([^"]+)">.*?value="([^"]+)"', page, re.DOTALL)
    return [(key, float(joules), float(seconds)) for joules, seconds, key in lines]


def test_every_cell_is_what_predict_says(fitted):
    found = cells(compared(fitted, f"{QUERY}"))
    gpus = [name for name, gpu in catalog.gpus().items() if not gpu.is_processor]
    models = [name for name, model in catalog.models().items() if not model.video]
    assert set(found) == {(gpu, model) for gpu in gpus for model in models}
    names = f"model={','.join(models)}&gpu={','.join(gpus)}"
    documents = fitted.get(f"/api/predict?{names}&{QUERY}").json()["predictions"]
    for document in documents:
        joules, shade = found[document["gpu"], document["model"]]
        assert joules == pytest.approx(document["energy_joules"])
        assert ("unfit" in shade) == (document["fits"] is False)
    by_joules = sorted((joules, int(shade[1])) for joules, shade in found.values() if "unfit" not in shade)
    shades = [shade for _, shade in by_joules]
    assert shades == sorted(shades)
    assert set(shades) == set(range(8))


@pytest.mark.parametrize(("sort", "place"), [("energy", 1), ("seconds", 2)])
def test_the_leaderboard_is_of_what_fits_in_the_order_asked_for(fitted, sort, place):
    short = board(compared(fitted, f"{QUERY}&sort={sort}"))
    whole = board(compared(fitted, f"{QUERY}&sort={sort}&rows=all"))
    found = cells(compared(fitted, f"{QUERY}"))
    assert whole[: len(short)] == short
    assert len(whole) == sum("unfit" not in shade for _, shade in found.values())
    assert [line[place] for line in whole] == sorted(line[place] for line in whole)


def test_the_front_is_what_no_other_betters(fitted):
    page = compared(fitted, f"{QUERY}&rows=all")
    pairs = [(joules, seconds) for _, joules, seconds in board(page)]
    best = sum(not any(a <= j and b <= s and (a, b) != (j, s) for a, b in pairs) for j, s in pairs)
    assert f"{len(pairs)} pairs, {best} of them on the front" in page
    assert page.count('class="dot on"') == best


def test_what_was_picked_lies_beside_each_other(fitted):
    page = compared(fitted, f"{QUERY}&pick=flux@h100&pick=sd35@h100&pick=nothing@here")
    assert page.count('<article class="laid">') == 2
    found = cells(page)
    ratio = found["h100", "sd35"][0] / found["h100", "flux"][0]
    assert f"{ratio:.2f} times the energy" in page


def test_what_a_model_cannot_make_is_left_out_with_its_reason(fitted):
    page = compared(fitted, "resolution=4096&steps=28&precision=fp16&model=sd35,flux&gpu=h100")
    assert "sd35 is left out: " in page
    assert ("h100", "sd35") not in cells(page)


@pytest.mark.parametrize("query", ["steps=x", "sort=worst", "max_joules=x", "gpu=none", "model=nobody", "pick="])
def test_a_wrong_query_is_one_line(fitted, query):
    answer = fitted.get(f"/compare?{query}")
    assert answer.status_code == (200 if query == "pick=" else 422)
    if query != "pick=":
        line = re.search(r'role="alert">([^<]+)<', answer.text)[1]
        assert line.startswith(query.split("=")[0])


def test_a_table_of_scores_is_drawn_with_its_front(fitted):
    compared(fitted, QUERY)
    table = "model,fid,clip\nflux,20,0.3\nsd35,25,0.35\n"
    drawn = fitted.post(f"/compare/quality?{QUERY}&by=-fid", content=table).text
    found = cells(compared(fitted, QUERY))
    fitting = [(joules, model) for (_, model), (joules, shade) in found.items() if "unfit" not in shade]
    pairs = [pair for pair in fitting if pair[1] in ("flux", "sd35")]
    assert f"{len(pairs)} pairs, " in drawn
    least = min(joules for joules, model in pairs if model == "flux")
    best = [joules for joules, model in pairs if model == "sd35" and joules < least]
    assert drawn.count('class="dot on"') == (1 + bool(best))
    assert 'value="-fid" selected' in drawn
    assert 'value="clip"' in drawn


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "a header"),
        ("model,fid\nnobody,3\n", "model"),
        ("model\nflux\n", "score"),
        ("model,fid\n/etc,3\n", "catalog"),
        ("model,fid\n" + 50_000 * "flux,20.0\n", "at most 500,000 bytes"),
    ],
)
def test_a_table_that_is_none_is_one_line(fitted, table, said):
    answer = fitted.post(f"/compare/quality?{QUERY}", content=table)
    assert answer.status_code == 422
    line = re.search(r'role="alert">([^<]+)<', answer.text)[1]
    assert said in line
    assert "/tmp" not in line


def test_what_was_measured_is_filled(fitted):
    page = compared(fitted, "resolution=1024&steps=25&precision=fp16&cfg=1")
    tips = re.findall(r'class="dot measured"[^>]*data-tip="([^"]*)"', page)
    assert len(tips) >= 3
    assert all("measured: mean of 2 rows" in tip for tip in tips)
