"""Ask, and what programs ask of the law: with nothing measured, no farm and no database file."""

from __future__ import annotations

import json
import re
import sys
from html import unescape

import pytest

from farm.domain import words
from tests.knowledge import look

POINT = "model=flux&gpu=a100&resolution=512&steps=20&precision=fp16"


@pytest.fixture
def answered(fitted):
    """The text of the page for a query."""

    def ask(query: str = "") -> str:
        answer = fitted.get(f"/?{query}")
        assert answer.status_code == 200
        return " ".join(re.sub(r"<[^>]+>", " ", unescape(answer.text)).split())

    return ask


def test_the_address_is_the_question(answered):
    text = answered(f"{POINT}&prompts=25&country=FR&price=0.2&pue=1.3")
    assert "FLUX.1-dev" in text
    assert re.search(r"Energy of an image, predicted 1\.\d+ kJ 1\.\d+ kJ to 1\.\d+ kJ \(90%\)", text)
    assert re.search(r"CO2e of an image \d+(\.\d)? mg .* g/kWh of France", text)
    assert re.search(r"Price of an image 0\.000\d+", text)
    assert re.search(r"All 25 images: [\d.]+ kJ, [\d.]+ Wh, 1 min \d+ s, ", text)
    assert "Fits the memory: an estimated" in text
    assert "80 of these rows are of this model" not in text
    assert "arXiv 2511.17031v2, CC BY 4.0" in text


def test_the_page_says_what_the_command_says(fitted, farm, answered):
    printed = json.loads(farm("predict", *re.sub(r"(\w+)=(\S+?)(&|$)", r"--\1 \2 ", POINT).split(), "--json").out)
    assert fitted.get(f"/api/predict?{POINT}").json() == printed
    joules, low, high = (f"{printed[name] / 1000:.3g} kJ" for name in ("energy_joules", "low_joules", "high_joules"))
    assert f"{joules} {low} to {high} (90%)" in answered(POINT)


def test_many_are_the_document_of_many(fitted, farm):
    query = "model=flux,sd2&gpu=a100&resolution=512,1024&steps=20&precision=fp16&cfg=both"
    printed = json.loads(
        farm("predict", "--model", "flux,sd2", "--gpu", "a100", "--resolution", "512,1024", "--steps", "20",
             "--precision", "fp16", "--cfg-both", "--json").out
    )  # fmt: skip
    assert fitted.get(f"/api/predict?{query}").json() == printed
    limited = fitted.get(f"/api/predict?{query}&max_joules=500&sort=energy&pareto=seconds").json()
    assert 0 < len(limited["predictions"]) < len(printed["predictions"])
    joules = [entry["energy_joules"] for entry in limited["predictions"]]
    assert joules == sorted(joules)
    assert limited["predictions"][0]["on_front"]


def test_what_does_not_fit_is_answered_and_said(answered):
    assert "Does not fit: needs an estimated" in answered("model=flux&gpu=a4000&resolution=1024&precision=fp32")


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("steps=x", "steps: x: a whole number"),
        ("steps=0", "steps: 0: "),
        ("model=fluxx", "did you mean flux"),
        ("gpu=", "gpu: None: required"),
        ("model=/etc", "model: /etc: "),
        ("resolution=1e9", "resolution: 1e9: "),
        ("precision=fp8", "precision: fp8: "),
        ("cfg=maybe", "cfg: maybe: "),
        ("price=-1", "price: -1.0: "),
        ("price=nan", "price: nan: "),
        ("country=Atlantis", "country: Atlantis: "),
        ("level=2", "level: 2.0: "),
        ("law=none", "law: none: "),
        ("batch=4", "batch: 4: at most prompts (1)"),
        ("steps=%00", "steps: "),
        ("nonsense=1", "nonsense: 1: "),
        ("resolution=512,1024,2048&steps=" + ",".join(map(str, range(1, 2001))), "lists: 6,000 configurations: "),
    ],
)  # fmt: skip
def test_a_wrong_question_is_one_line_of_field_value_and_remedy(fitted, query, line):
    whole = "&".join([*(p for p in POINT.split("&") if p.split("=")[0] + "=" not in query), query])
    answer = fitted.get(f"/api/predict?{whole}")
    assert answer.status_code == 422
    error = answer.json()
    assert line in error["error"]
    assert len(error["error"].splitlines()) == 1
    assert set(error) == {"error", "field", "value", "remedy"}
    if "nonsense" not in query:
        page = fitted.get(f"/?{whole}")
        assert page.status_code == 422
        assert line.split(": ")[0] in re.search(r'role="alert">([^<]+)<', page.text)[1]


def test_the_catalog_and_the_laws_are_the_commands_documents(fitted, farm):
    for path, command in {"models": ["models"], "gpus": ["gpus"], "laws": ["law", "list"]}.items():
        answer = fitted.get(f"/api/{path}")
        assert answer.json() == json.loads(farm(*command, "--json").out)
        assert fitted.get(f"/api/{path}", headers={"if-none-match": answer.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("path", ["/", "/compare"])
def test_a_page_asks_the_law_of_its_address(fitted, farm, path):
    query = f"{POINT}&law=paper"
    fitted.get(f"/api/predict?{query}")  # it waits for the fit
    while "comes by itself" in (text := fitted.get(f"{path}?{query}").text):
        pass
    printed = farm("predict", *re.sub(r"(\w+)=(\S+?)(&|$)", r"--\1 \2 ", query).split(), "--json").out
    assert words.joules(json.loads(printed)["energy_joules"]) in text


def test_the_document_that_a_page_leads_to_answers_the_same_question(fitted):
    page = fitted.get(f"/?{POINT}&level=0.5&law=paper").text
    path = unescape(re.search(r'As JSON: <a href="([^"]+)"', page)[1])
    document = fitted.get(path).json()
    assert (document["level"], document["law"]) == (0.5, "paper")


def test_how_to_make_it_surer_is_what_farm_plan_picks(fitted, farm):
    while "Choosing among" in (text := fitted.get("/ask/surer?model=flux&gpu=a6000").text):
        pass
    planned = json.loads(farm("plan", "--model", "flux", "--gpu", "a6000", "--budget", "5", "--json").out)
    first = planned["configurations"][0]
    assert text.count("<li>") == 5
    assert f"{first['resolution']} x {first['resolution']}, {first['steps']} steps" in text
    assert "farm plan --model flux --gpu a6000 --budget 5 --out surer.yaml" in text


@pytest.mark.parametrize("precision", ["fp16", "bf16"])  # the rows are of fp16, which costs the same
def test_what_is_measured_stands_beside_what_is_predicted(fitted, precision):
    page = fitted.get(f"/?model=flux&gpu=a100&resolution=512&steps=20&precision={precision}").text
    assert page.count('class="measured"') > 3
    assert "law says" in page


def test_without_the_extra_it_says_what_to_install(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    page = client.get("/")
    assert page.status_code == 200
    assert "pip install &#39;joulefarm[analysis]&#39;" in page.text
    answer = client.get(f"/api/predict?{POINT}")
    assert answer.status_code == 503
    assert "joulefarm[analysis]" in answer.json()["error"]
    part = client.get("/ask/surer?model=flux&gpu=a100")
    assert part.status_code == 503
    assert "joulefarm[analysis]" in unescape(part.text)
    assert "database is away" not in part.text


def test_new_rows_are_another_answer(client, farm, tmp_path):
    query = POINT.replace("gpu=a100", "gpu=l4")
    before = client.get(f"/api/predict?{query}").json()
    table = tmp_path / "rows.csv"
    table.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules\n"
        + "".join(f"flux,l4,512,{steps},fp16,0,1,{200 * steps}\n" for steps in range(10, 30))
    )
    assert farm("results", "import", table, "--dataset", "own").code == 0
    look(client.app.state.site.knowledge)
    for _ in range(200):
        after = client.get(f"/api/predict?{query}").json()
        if after["energy_joules"] != before["energy_joules"]:
            break
    assert "20 measured rows of flux on l4" in after["rests_on"]
    assert abs(after["energy_joules"] - 4000) < abs(before["energy_joules"] - 4000) / 2
