"""Tables as people have them: spreadsheets of any country, other names and units; read alike, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from farm.domain import RequestError
from farm.domain.row import Row
from farm.files.table import read_table, write_table

HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,idle_watts,room"
PLAIN = f"{HEADER}\nflux,a100,512,20,fp16,1,10,29512.5,55.25,B12\nsd35,a100,1024x768,30,fp32,0,1000,31200,60,\n"
EUROPEAN = PLAIN.replace(",", ";").replace("29512.5", "29512,5").replace("55.25", "55,25")

Change = Callable[[str], str]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str | bytes], list[Row]]:
    def read(content: str | bytes, name: str = "t.csv") -> list[Row]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path)

    return read


@pytest.mark.parametrize(
    "content",
    [
        EUROPEAN,
        EUROPEAN.replace("29512,5", "29.512,5"),
        EUROPEAN.replace("29512,5", "2,95125E+04"),
        EUROPEAN.replace("29512,5", "29\u202f512,5").replace("31200", "31\u00a0200"),
        EUROPEAN.replace(";", "\t"),
        "sep=;\n" + EUROPEAN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("29512.5", '"29,512.5"').replace("31200", '"31,200"'),
        PLAIN.replace("29512.5", "29'512.5"),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        EUROPEAN.encode("utf-32"),
        PLAIN.replace("\n", ",,,\n"),
        PLAIN + ",,,,,,,,,\n, ,,,,,,,,\n\n",
        ",,,\n\n" + PLAIN,
        PLAIN.replace("sd35", HEADER + "\nsd35"),
        PLAIN.replace("model,", ",model,").replace("flux,", "0,flux,").replace("sd35,", "1,sd35,"),
        PLAIN.replace("fp16", "torch.float16").replace("fp32", "FP32"),
        PLAIN.replace("fp16", "half").replace("fp32", "float32"),
        PLAIN.replace("1024x768", "1024×768").replace(",512,", ',"(512, 512)",'),
        PLAIN.replace("1024x768", "1024*768").replace(",512,", ",512 X 512,"),
        PLAIN.replace("cfg", "CFG").replace("idle_watts", "Idle Watts").replace("model", "Model"),
        PLAIN.replace("flux", "FLUX.1-dev").replace("a100", "NVIDIA A100-SXM4-80GB"),
        PLAIN.replace(",a100,", ', " A100 ",').replace("sd35", "stabilityai/stable-diffusion-3.5-large"),
        PLAIN.replace("energy_joules", "energy_wh").replace("29512.5", "8.197916667").replace("31200", "8.666666667"),
        PLAIN.replace("joules", "kwh").replace("29512.5", "8.197916667e-3").replace("31200", "8.666666667e-3"),
    ],
)  # fmt: skip
def test_a_table_may_come_from_any_spreadsheet(read, content):
    first, second = read(content)
    plain = read(PLAIN)
    assert [first.configuration, second.configuration] == [row.configuration for row in plain]
    assert (first.energy_joules, second.energy_joules) == pytest.approx((29512.5, 31200), rel=1e-8)
    assert (first.idle_watts, second.idle_watts, first.extra, second.extra) == (55.25, 60, {"room": "B12"}, {})


@pytest.mark.parametrize(
    "word", ["N/A", "n/a", "NA", "#N/A", "null", "NULL", "None", "NaN", "-", " -- ", "?", "<NA>", ""]
)
def test_a_word_for_nothing_is_nothing(read, word):
    row = read(PLAIN.replace("55.25", word).replace("B12", word))[0]
    assert row.idle_watts is None
    assert row.extra == ({"room": word} if word else {})  # what no rule reads stays as it came


@pytest.mark.parametrize("word", ["N/A", "NaN", "-", ""])
def test_an_energy_that_is_not_known_is_refused_and_never_nothing(read, word):
    with pytest.raises(RequestError, match=r"row 1, energy_joules: .*leave the row out"):
        read(PLAIN.replace("29512.5", word))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EUROPEAN.replace("60", "60.5"), ("one decimal sign", "joules: 29512,5", "idle_watts: 60.5")),
        (EUROPEAN.replace("29512,5", "29,512").replace("55,25", "55"), ("by semicolons", "29,512", "grouped")),
        (PLAIN.replace(",", ";").replace("29512.5", "29.512").replace("55.25", "55"), ("29.512", "grouped or")),
        (PLAIN.replace("29512.5", '"29,512"').replace("55.25", "55"), ("29,512", "grouped or a fraction")),
        (EUROPEAN.replace("precision", "prec"), ("column: precision: required", "semicolons, decimal comma")),
        (PLAIN + ",,,,,,,60712.5,,\n", ("row 3, energy_joules: 60712.5", "a sum", "take it out")),
        (PLAIN + "Total,,,,,,,60712.5,,\n", ("row 3", "gpu")),
        (PLAIN.replace("B12", "B12,7"), ("row 1, column 11: 7: empty, or a name",)),
        (PLAIN.replace("room", ""), ("row 1, column 10: B12: empty, or a name",)),
        (PLAIN.replace("room", "measurement_id").replace("B12", "1.23E+15").replace("60,", "60,1.23E+15"),
         ("row 2, measurement_id: 1.23E+15: the whole id",)),
        (PLAIN.replace("fp16", "fp8"), ("row 1, precision: fp8: one of fp16",)),
        (PLAIN.replace("model,", ",model,").replace("flux,", "x,flux,").replace("sd35,", "y,sd35,"), ("column 1: x",)),
        (PLAIN.replace("flux", "fluxx"), ("model: fluxx: did you mean flux?",)),
        (PLAIN.replace("a100", "a1000"), ("gpu: a1000: did you mean a100",)),
        (PLAIN.replace("energy_joules", "energy_kwh").replace("29512.5", "-8"), ("row 1, energy_kwh: -8:",)),
        (PLAIN.replace("idle_watts", "energy_wh"), ("row 1, energy_wh: 55.25: that of energy_joules (29512.5)",)),
        (PLAIN.encode("utf-16-le"), ("UTF-16 with its mark",)),
        (PLAIN.replace("B12", "Küche").encode("latin-1"), ("a CSV file in UTF-8",)),
        (b"PK\x03\x04 a workbook", ("save the sheet as CSV",)),
        (b"PAR1 columns", ("end in .parquet",)),
        (b"\x1f\x8b packed", ("unpack it first",)),
        (",,,\n\n", ("a header line",)),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_none_is_refused_in_one_line(read, content, words):
    with pytest.raises(RequestError) as refused:
        read(content)
    assert "\n" not in str(refused.value)
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_name_that_is_near_to_none_is_taken(read):
    row = read(PLAIN.replace("flux", "kandinsky-3").replace("a100", "abacus"))[0]
    assert (row.configuration.model, row.configuration.gpu) == ("kandinsky-3", "abacus")


@pytest.mark.parametrize("suffix", [".PARQUET", ".Pq", ".parquet", ".CSV"])
def test_a_suffix_counts_whatever_its_case(tmp_path, read, suffix):
    rows = read(PLAIN)
    path = tmp_path / f"out{suffix}"
    assert write_table(path, rows) == 2
    assert path.read_bytes().startswith(b"PAR1") == (suffix != ".CSV")
    assert [row.to_dict() for row in read_table(path)] == [row.to_dict() for row in rows]
