"""CSV and Parquet files that nobody meant, given to the commands that read tables: a line and exit 2, or an answer."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import reject
from hypothesis import strategies as st

from farm.domain.row import COLUMNS
from tests.acceptance.rude_files import POINT, ROW, answer, csv_text
from tests.rude import BOTH_FORMS, NUMBERS, TEXTS, ask, hold, spoiled, spoiled_bytes

READERS = [
    ["results", "import", "FILE", "--dataset", "theirs", "--json"],
    ["law", "fit", "--data", "FILE", "--json"],
    ["law", "validate", "--data", "FILE", "--leave-out", "gpu", "--json"],
    ["predict", "--in", "FILE", "--only-own", "--json"],
    ["predict", *POINT, "--data", "FILE"],
    ["predict", *POINT, "--quality", "FILE", "--pareto", "score"],
    ["plan", "--model", "flux", "--gpu", "a100", "--budget", "2", "--data", "FILE", "--json"],
    ["plan", "--model", "flux", "--gpu", "a100", "--budget", "1", "--candidates", "FILE", "--json"],
    ["weights", "fetch", "FILE", "--dry-run", "--json"],
]


def csv_files() -> st.SearchStrategy[bytes]:
    rows = [dict(ROW), {**ROW, "model": "sd35", "cfg": 1, "measurement_id": "n", "energy_joules": 31000.5}]
    cells = st.one_of(TEXTS, NUMBERS.map(str), st.sampled_from(["1,5", "1.234", "1.234,5", "N/A", "1'000", "'=1"]))
    plain = [{name: row[name] for name in ("model", "gpu", "resolution", "steps", "precision", "cfg", "prompts",
              "energy_joules", "score")} for row in rows]  # fmt: skip

    def written(document: Any, separator: str) -> bytes:
        dicts = [row if isinstance(row, dict) else {"model": row} for row in document] or [{}]
        return csv_text(dicts, separator).encode("utf-8", "surrogatepass")

    separators = st.sampled_from([",", ",", ";", "\t", "|"])
    whole = st.one_of(*(st.builds(written, spoiled(each, cells), separators) for each in (rows, plain)))
    return st.one_of(whole, whole, spoiled_bytes(written(rows, ",")), spoiled_bytes(written(plain, ";")))


@BOTH_FORMS
def test_rude_csv_files(folder: Path, form: str) -> None:
    def check_csv_file(example: tuple[list[str], bytes]) -> str:
        return _read_by(folder, example[0], folder / "rude.csv", example[1])

    seen = hold(form, st.tuples(st.sampled_from(READERS), csv_files()), check_csv_file, short=80, long=800)
    assert seen["answered"]
    assert seen["refused"]


def _read_by(folder: Path, command: Sequence[str], path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    words = [str(path) if word == "FILE" else word for word in command]
    return answer(folder, words)


_AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ARRAYS = [
    pa.array([None, None]), pa.array([True, None]), pa.array([2**64 - 1, 0], pa.uint64()), pa.array([b"\xff", b""]),
    pa.array([decimal.Decimal("1.5"), None]), pa.array([decimal.Decimal("9" * 70), None], pa.decimal256(76)),
    pa.array([[1], []]), pa.array([{"a": 1}, None]), pa.array([_AT, None]), pa.array([_AT.date(), None]),
    pa.array([2**62, -(2**62)], pa.timestamp("ns", "UTC")), pa.array([2**62, 0], pa.timestamp("s")),
    pa.array([2**62, -1], pa.timestamp("s", "Mars/Base")), pa.array([1, 2], pa.timestamp("ns", "+05:30")),
    pa.array([2**31 - 1, -(2**31)], pa.date32()), pa.array([2**62, 1], pa.date64()),
    pa.array([2**62, 1], pa.duration("s")),
    pa.array([2**62, 1], pa.duration("ns")), pa.array([1, 86400 * 10**9 - 1], pa.time64("ns")),
    pa.array([1, 2], pa.float16()),
    pa.array(["flux", "sd35"]).dictionary_encode(), pa.array(["flux", None], pa.large_string()),
    pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())), pa.array([math.nan, -math.inf]),
]  # fmt: skip


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """Tables with columns of types that no measurement has, of one name, without rows; and files that are damaged."""
    names = draw(st.sampled_from([list(ROW), ["model", "gpu", "resolution", "steps", "precision", "cfg", "prompts",
                                              "energy_joules", "score"]]))  # fmt: skip
    columns = {name: pa.array([ROW[name], {"model": "sd35", "cfg": 1, "measurement_id": "n"}.get(name, ROW[name])])
               for name in names}  # fmt: skip
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.one_of(st.sampled_from(names), st.sampled_from(COLUMNS), TEXTS))
        name = name.encode("utf-8", "replace").decode()
        values = st.lists(st.one_of(st.none(), NUMBERS.map(float)), min_size=2, max_size=2).map(pa.array)
        columns[name] = draw(st.one_of(st.sampled_from(ARRAYS), values))
    arrays, labels = list(columns.values()), list(columns)
    if draw(st.integers(0, 9)) == 0:
        arrays, labels = [*arrays, arrays[0]], [*labels, labels[0]]
    table = pa.table(arrays, names=labels)
    out = io.BytesIO()
    try:
        pq.write_table(table.slice(0, draw(st.sampled_from([0, 1, 2, 2, 2]))), out)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a type, or a time, that the format does not have
        reject()
    return draw(spoiled_bytes(out.getvalue())) if draw(st.integers(0, 3)) == 0 else out.getvalue()


@BOTH_FORMS
def test_rude_parquet_files(folder: Path, form: str) -> None:
    def check_parquet_file(example: tuple[list[str], bytes]) -> str:
        return _read_by(folder, example[0], folder / "rude.parquet", example[1])

    seen = hold(form, st.tuples(st.sampled_from(READERS[:-1]), parquet_files()), check_parquet_file, short=60, long=500)
    assert seen["answered"]
    assert seen["refused"]


QUALITY = ["predict", *POINT, "--quality", "FILE", "--pareto", "score"]
QUESTION = ["predict", "--in", "FILE", "--only-own", "--json"]


def test_columns_of_types_that_no_measurement_has_are_refused(folder: Path) -> None:
    refused = [
        (READERS[0], "measured_at", pa.array([2**31 - 1], pa.date32())),
        (READERS[0], "measured_at", pa.array([2**62], pa.timestamp("ms", "UTC"))),
        *((QUESTION, name, pa.array([[1, 2]])) for name in ("model", "resolution", "cfg")),
        *((QUALITY, name, column) for name in ("model", "gpu") for column in (pa.array([True]), pa.array([b"\xff"]))),
    ]
    for command, name, column in refused:
        assert _read_by(folder, command, folder / "rude.parquet", _parquet({name: column})) == "refused", (name, column)
    for day in (pa.array([b"\xff"]), pa.array([[1, 2]])):  # a circumstance that is not known
        assert _read_by(folder, QUESTION, folder / "rude.parquet", _parquet({"measured_at": day})) == "answered", day


def _parquet(columns: Mapping[str, pa.Array]) -> bytes:
    """A table of one row with some columns of another type."""
    whole = {name: pa.array([value]) for name, value in ROW.items() if name not in ("width", "height")} | columns
    out = io.BytesIO()
    pq.write_table(pa.table(list(whole.values()), names=list(whole)), out)
    return out.getvalue()


def test_texts_as_bytes_and_sides_as_lists_are_read_as_what_they_say(folder: Path) -> None:
    said_so = {"model": pa.array([b"flux"]), "resolution": pa.array([[512, 768]])}
    (folder / "rows.parquet").write_bytes(_parquet(said_so))
    said = ask([*READERS[0][:2], "rows.parquet", "--dataset", "theirs", "--json"])
    assert said.code == 0, said
    rows = json.loads(ask(["results", "list", "--dataset", "theirs", "--json"]).out)["results"]
    assert [(row["model"], row["width"], row["height"]) for row in rows] == [("flux", 512, 768)]


def test_a_part_of_the_paper_that_cannot_be_made_leaves_no_file_of_another(folder: Path) -> None:
    (folder / "few.csv").write_text(csv_text([dict(ROW)], ","))
    assert answer(folder, ["reproduce", "--out", "made", "--data", "few.csv"]) == "refused"
    assert not (folder / "made").exists()
