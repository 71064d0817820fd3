"""The table of measurements: columns, defaults, and rows that cannot be taken."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from farm.domain import RequestError
from farm.domain.row import COLUMNS, parse_row
from farm.domain.table import BadRows, parse_rows, refuse_repeats, with_ids
from farm.files.table import read_table

HEADER = ["model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "energy_joules"]
GOOD = ["flux", "a100", "512", "20", "fp16", "1", "10", "1234.5"]


def rows(*changes: dict[str, object], header: list[str] = HEADER):
    values = [[change.get(name, value) for name, value in zip(HEADER, GOOD, strict=True)] for change in changes]
    return parse_rows(header, values, source="t.csv")


def test_defaults_are_a_configurations():
    (row,) = rows({})
    c = row.configuration
    assert (c.width, c.height, c.cfg, c.batch, c.weights, c.size, c.seed) == (512, 512, True, 1, "random", "full", 0)
    assert (row.energy_joules, row.dataset, row.measurement_id, row.idle_watts) == (1234.5, None, None, None)


def test_names_outside_the_catalog_are_taken():
    (row,) = rows({"model": "my-model", "gpu": "tpu-v9"})
    assert (row.configuration.model, row.configuration.gpu) == ("my-model", "tpu-v9")


def test_numbers_are_taken_as_well_as_texts():
    typed = dict(zip(HEADER, ["flux", "a100", 512.0, 20, "fp16", True, 10, 1234.5], strict=True))
    assert parse_row(typed) == rows({})[0]


def test_width_and_height_instead_of_resolution():
    header = ["width", "height", *(name for name in HEADER if name != "resolution")]
    values = ["512", "768", *(v for name, v in zip(HEADER, GOOD, strict=True) if name != "resolution")]
    (row,) = parse_rows(header, [values], source="t.csv")
    assert (row.configuration.width, row.configuration.height) == (512, 768)
    assert row.to_dict()["resolution"] is None


@pytest.mark.parametrize("empty", ["", "  ", None, math.nan])
def test_an_empty_cell_is_a_default_or_required(empty):
    header = [*HEADER, "batch"]
    assert parse_rows(header, [[*GOOD, empty]], source="t.csv")[0].configuration.batch == 1
    with pytest.raises(BadRows, match=r"row 1, steps: .* required"):
        rows({"steps": empty})


def test_idle_power_may_be_in_a_row_that_says_how_long_it_took():
    header = [*HEADER, "includes_idle", "duration_seconds", "power_limit_watts", "clock_limit_mhz", "frames"]
    (row,) = parse_rows(header, [[*GOOD, "1", "30", "350", "1200", "1"]], source="t.csv")
    assert (row.includes_idle, row.duration_seconds) == (True, 30.0)
    assert (row.power_limit_watts, row.clock_limit_mhz) == (350.0, 1200.0)
    assert parse_row(row.to_dict()) == row
    (plain,) = parse_rows(header, [[*GOOD, "", "", "", "", ""]], source="t.csv")
    assert (plain.includes_idle, plain.power_limit_watts, plain.clock_limit_mhz) == (False, None, None)
    assert plain.configuration.frames == 1


def test_a_row_without_energy_states_its_seconds():
    header = [*HEADER, "duration_seconds"]
    place = header.index("energy_joules")
    (row,) = parse_rows(header, [[*GOOD[:place], "", *GOOD[place + 1 :], "30"]], source="t.csv")
    assert (row.energy_joules, row.duration_seconds, row.spoiled) == (None, 30.0, False)
    assert parse_row(row.to_dict()) == row
    for seconds in ("", "0"):
        with pytest.raises(BadRows, match=r"row 1, energy_joules: .*beside duration_seconds above 0"):
            parse_rows(header, [[*GOOD[:place], "", *GOOD[place + 1 :], seconds]], source="t.csv")


def test_the_id_of_a_row_is_what_it_was_before_clocks_were_limited():
    ((named, _),) = with_ids(rows({}))
    assert named == "row-a8f539ecffa1c615089cf60cdaf14d96"
    ((limited, _),) = with_ids([replace(row, clock_limit_mhz=1200.0) for row in rows({})])
    assert limited != named


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1", "", "", ""], "duration_seconds: .*above 0, as includes_idle is 1"),
        (["1", "0", "", ""], "duration_seconds: .*above 0, as includes_idle is 1"),
        (["maybe", "30", "", ""], "includes_idle: maybe.* 0 or 1"),
        (["0", "30", "0", ""], "power_limit_watts: .* above 0"),
        (["0", "30", "-5", ""], "power_limit_watts: "),
        (["0", "30", "", "0"], "frames: 0.* from 1"),
        (["0", "30", "", "1", "0"], "clock_limit_mhz: .*megahertz above 0"),
    ],
)
def test_what_contradicts_itself_is_refused(cells, words):
    header = [*HEADER, "includes_idle", "duration_seconds", "power_limit_watts", "frames", "clock_limit_mhz"]
    cells = [*cells, ""][:5]
    with pytest.raises(BadRows, match=words):
        parse_rows(header, [[*GOOD, *cells]], source="t.csv")


def test_the_key_of_an_image_is_what_it_was_before_there_were_frames():
    (row,) = rows({})
    assert row.configuration.key == "2a7abd07daced6c2d54cc774fcc9751b"
    assert replace(row.configuration, frames=2).key != row.configuration.key


def test_other_columns_are_kept():
    (row,) = parse_rows([*HEADER, "room", "empty"], [[*GOOD, "B12", ""]], source="t.csv")
    assert row.extra == {"room": "B12"}
    assert list(row.to_dict()) == [*COLUMNS, "room"]


def test_a_row_survives_being_written_and_read():
    values = {"idle_watts": "55.5", "flags": "simulated foreign_process", "dataset": "d", "measurement_id": "1"}
    (row,) = parse_rows([*HEADER, *values], [[*GOOD, *values.values()]], source="t.csv")
    assert parse_row(row.to_dict()) == row
    assert row.spoiled
    assert row.origin == "simulated"


def test_unknown_energy_is_taken_only_where_a_flag_says_why():
    (row,) = parse_rows([*HEADER, "flags"], [[*GOOD[:-1], "", "gpu_lost"]], source="t.csv")
    assert row.energy_joules is None
    with pytest.raises(BadRows, match="row 1, energy_joules"):
        rows({"energy_joules": ""})


def test_candidates_need_no_energy():
    found = parse_rows(HEADER[:-1], [GOOD[:-1]], source="t.csv", energy_required=False)
    assert found[0].energy_joules is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("energy_joules", "nan"), ("energy_joules", math.nan), ("energy_joules", "0"), ("energy_joules", "-5"),
        ("energy_joules", "inf"), ("energy_joules", "1e300"), ("energy_joules", "1e-300"), ("energy_joules", 1.1e15),
        ("energy_joules", "29_500"), ("energy_joules", "２９５００"), ("steps", "2_0"), ("resolution", "5_12"),
        ("resolution", "５１２"), ("energy_joules", "much"), ("energy_joules", True), ("energy_joules", None),
        ("energy_joules", 10**400),
        ("steps", "1.5"), ("steps", ""), ("prompts", "-1"), ("cfg", "2"), ("precision", "fp8"), ("model", ""),
        ("gpu", "a\x00b"),
    ],
)  # fmt: skip
def test_bad_value_is_named_by_row_and_column(column, value):
    with pytest.raises(BadRows) as raised:
        rows({}, {column: value})
    assert f"row 2, {column.replace('resolution', 'width')}: " in str(raised.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [("idle_watts", "-1"), ("duration_seconds", "x"), ("energy_std_joules", "inf"),
     ("energy_std_joules", "1e300"), ("duration_seconds", "1e300"), ("duration_seconds", "1_0"), ("flags", "sunny"),
     ("duration_seconds", 10**400), ("batch", "0"), ("seed", "-1"), ("meter", "a\nb")],
)  # fmt: skip
def test_bad_optional_value_is_named(column, value):
    with pytest.raises(BadRows, match=rf"row 1, {column}: "):
        parse_rows([*HEADER, column], [[*GOOD, value]], source="t.csv")


@pytest.mark.parametrize(("column", "value"), [("width", "64"), ("height", 64)])
def test_a_resolution_that_is_not_that_of_width_and_height_is_named(column, value):
    header = [*HEADER, "width", "height"]
    sides = {"width": 512, "height": 512}
    assert parse_rows(header, [[*GOOD, 512, "512"]], source="t.csv") == rows({})
    with pytest.raises(BadRows, match=rf"row 1, resolution: 512: that of {column} \(64\), or only one"):
        parse_rows(header, [[*GOOD, *(sides | {column: value}).values()]], source="t.csv")


def test_every_bad_row_is_counted():
    with pytest.raises(BadRows) as raised:
        rows(*({"steps": "x"} for _ in range(15)))
    assert len(raised.value.problems) == 15
    assert "row 10, steps" in str(raised.value)
    assert "and 5 more" in str(raised.value)


@pytest.mark.parametrize("missing", ["model", "steps", "energy_joules", "resolution"])
def test_missing_column(missing):
    header = [name for name in HEADER if name != missing]
    with pytest.raises(RequestError, match=f"column: {missing}: required"):
        parse_rows(header, [], source="t.csv")


def test_column_given_twice():
    with pytest.raises(RequestError, match="column: gpu: once"):
        parse_rows([*HEADER, "gpu"], [], source="t.csv")


def test_same_id_is_the_same_row_and_same_configuration_is_not():
    header = [*HEADER, "measurement_id"]
    found = parse_rows(header, [[*GOOD, i] for i in ("a", "b", "a", "", "")], source="t.csv")
    with pytest.raises(BadRows, match="row 3, measurement_id: a: already in row 1; keep"):
        refuse_repeats(found, "t.csv")
    refuse_repeats(found[1:], "t.csv")
    ids = [i for i, _ in with_ids(found)]
    assert len(set(ids)) == 4
    assert ids == [i for i, _ in with_ids(found)]


class TestCsv:
    def test_header_only_is_an_empty_table(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("\ufeff" + ",".join(HEADER) + "\n\n", encoding="utf-8")
        assert read_table(path) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "a header line"),
            (b"\x89PNG\xff\x00", "CSV file in UTF-8"),
            (b"hello\n", "column: model: required"),
            (",".join([*HEADER]).encode() + b"\nflux,a100\n", "row 1, columns: 2: as many values"),
            (b'"' + b"x" * 200_000, "CSV"),
        ],
    )
    def test_that_is_none(self, tmp_path, content, message):
        path = tmp_path / "t.csv"
        path.write_bytes(content)
        with pytest.raises(RequestError, match=message):
            read_table(path)

    def test_that_is_missing(self, tmp_path):
        with pytest.raises(RequestError, match="No such file"):
            read_table(tmp_path / "none.csv")
