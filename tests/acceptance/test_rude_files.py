"""Files and environments that nobody meant, given to the commands that read them: a line and exit 2, or an answer."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, text

from farm import catalog
from farm.catalog import files
from farm.cli import run
from farm.settings import NOT_SETTINGS, Settings
from tests.acceptance.rude_files import POINT, SWEEP, answer, documents, toml_text, yaml_text
from tests.rude import BOTH_FORMS, LONG, NUMBERS, TEXTS, VALUES, ask, assert_polite, hold, not_here, spoiled_bytes


@BOTH_FORMS
def test_rude_sweep_files(folder: Path, form: str) -> None:
    path = folder / "rude.yaml"
    commands = [
        ["sweep", "submit", str(path), "--dry-run", "--json"],
        ["sweep", "submit", "-", "--dry-run"],
        ["sweep", "submit", str(path), "--json"],
        ["weights", "fetch", str(path), "--dry-run", "--json"],
    ]
    any_file = st.one_of(documents(SWEEP, yaml_text), documents(SWEEP, json.dumps))

    def check_sweep_file(example: tuple[list[str], bytes]) -> str:
        words, raw = example
        path.write_bytes(raw)
        # No hub is here, where pretrained weights are asked for.
        return answer(folder, words, stdin=raw, codes=(0, 1, 2) if words[0] == "weights" else (0, 2))

    seen = hold(form, st.tuples(st.sampled_from(commands), any_file), check_sweep_file, short=60, long=500)
    assert seen["answered"]
    assert seen["refused"]


@BOTH_FORMS
def test_rude_prompts_files(folder: Path, form: str) -> None:
    captions = {"annotations": [{"caption": "a cat", "id": 1}, {"caption": "a dog", "id": 2}], "images": []}
    (folder / "with.yaml").write_text(yaml_text({**SWEEP, "prompts_file": "prompts", "name": "with prompts"}))
    measure = [
        "measure",
        "--simulate",
        "--model",
        "flux",
        "--gpu",
        "a100",
        "--resolution",
        "512",
        "--steps",
        "10",
        "--precision",
        "fp16",
        "--prompts",
        "3",
    ]
    commands = [["sweep", "submit", "with.yaml"], [*measure, "--prompts-file", "prompts"]]
    any_file = st.one_of(documents(captions, json.dumps), spoiled_bytes(b"a cat\na dog\n"))

    def check_prompts_file(example: tuple[list[str], bytes]) -> str:
        (folder / "prompts").write_bytes(example[1])
        return answer(folder, example[0])

    seen = hold(form, st.tuples(st.sampled_from(commands), any_file), check_prompts_file, short=30, long=250)
    assert seen["answered"]
    assert seen["refused"]


@BOTH_FORMS
@pytest.mark.parametrize("kind", ["gpus", "models"])
def test_rude_catalog_files(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch, form: str, kind: str) -> None:
    """The short form counts no work of a model, since torch takes seconds to begin."""
    if form != LONG:
        monkeypatch.setattr("analysis.work.ondemand._require_torch", not_here)
    shipped = {"gpus": "a100", "models": "sd2"}[kind]
    document = tomllib.loads((files.SHIPPED / kind / f"{shipped}.toml").read_text())
    lab = home / "catalog" / kind
    point = ["--resolution", "512", "--steps", "10", "--precision", "fp16", "--json"]
    named = {"gpus": ["--model", "flux", "--gpu", "mine"], "models": ["--model", "mine", "--gpu", "a100"]}[kind]
    commands = [[kind, "--json"], ["predict", *named, *point], ["sweep", "submit", "sweep.yaml", "--dry-run"]]
    names = st.one_of(st.just("mine"), st.just("mine"), st.sampled_from(["a100", "sd2", "Ü", "a b", "-", "x" * 100]))

    def check_catalog_file(example: tuple[list[str], str, bytes]) -> str:
        words, name, raw = example
        shutil.rmtree(lab, ignore_errors=True)
        lab.mkdir(parents=True)
        (lab / f"{name}.toml").write_bytes(raw)
        files.refresh()
        # That the work of a model cannot be counted, since its classes cannot be built so, is found out on the way.
        return answer(folder, words, codes=(0, 1, 2))

    examples = st.tuples(st.sampled_from(commands), names, documents(document, toml_text))
    seen = hold(form, examples, check_catalog_file, short=25, long=300)
    assert seen["answered"]
    assert seen["refused"]


SETTINGS_READERS = [
    ["sweep", "list", "--json"], ["results", "list", "--json"], ["events", "test"], ["db", "upgrade"], ["doctor"],
    ["worker", "--gpu", "h100", "--device", "0", "--simulate"], ["coordinator"], ["serve", "--port", "0"],
    ["up", "--simulate", "a100"], ["workers", "restart"], ["down"], ["revoke", "someone"], ["--version"],
    ["measure", "--simulate", "--prompts", "1", *POINT], ["weights", "fetch", "flux", "--dry-run"],
]  # fmt: skip
PLAIN_SETTINGS: Mapping[str, Any] = {
    "health_hour": 3, "lease_seconds": 60.0, "max_attempts": 3, "on_sigterm": "drain", "meter": "nvml", "tf32": "on",
    "foreign_processes": "wait", "raw_logs_bytes": 10**9, "log_level": "debug", "cpu_threads": 2, "retry_seconds": 0,
    "health_configuration": "model=sd2 resolution=512 steps=20 precision=fp16 prompts=10", "weights_dir": "here",
    "events_urls": "json://127.0.0.1:1/x", "simulated_law": "traced", "health_tolerance_percent": 2.5,
}  # fmt: skip


@BOTH_FORMS
def test_rude_settings_files(folder: Path, home: Path, short_lived: None, form: str) -> None:
    every = dict.fromkeys(Settings.model_fields, "x") | dict(PLAIN_SETTINGS)
    one_or_two = st.dictionaries(st.sampled_from(sorted(every)), VALUES, min_size=1, max_size=2)
    any_file = st.one_of(one_or_two.map(lambda d: toml_text(d).encode()), documents(PLAIN_SETTINGS, toml_text))

    def check_settings_file(example: tuple[list[str], bytes]) -> str:
        words, raw = example
        (home / "farm.toml").write_bytes(raw)
        return answer(folder, words, codes=(0, 1, 2))

    seen = hold(form, st.tuples(st.sampled_from(SETTINGS_READERS), any_file), check_settings_file, short=60, long=400)
    assert seen["answered"]
    assert seen["refused"]


@BOTH_FORMS
def test_rude_environments(folder: Path, home: Path, short_lived: None, form: str) -> None:
    """Also what the files hold that variables name."""
    names = [f"FARM_{field.upper()}" for field in Settings.model_fields] + sorted({*NOT_SETTINGS} - {"FARM_DEBUG"})
    names += ["FARM_UNKNOWN", "HOME", "HF_HOME", "CUDA_VISIBLE_DEVICES", "COLUMNS", "TZ", "NO_COLOR", "TERM"]
    plain = [str(value) for value in PLAIN_SETTINGS.values()]
    values = st.one_of(
        TEXTS, NUMBERS.map(str), st.sampled_from([*plain, "secret", "redis://127.0.0.1:1", "sqlite:///a.db"])
    )
    variables = st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=2)
    secrets = st.one_of(st.just(b"sqlite:///other.db"), spoiled_bytes(b"redis://user:password@127.0.0.1:1/0"))

    def check_environment(example: tuple[list[str], dict[str, str], bytes]) -> str:
        words, environment, secret = example
        (folder / "secret").write_bytes(secret)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value.replace("\0", ""))
            files.refresh()
            outcome = assert_polite(words, ask(words))
        files.refresh()
        return outcome

    examples = st.tuples(st.sampled_from(SETTINGS_READERS), variables, secrets)
    seen = hold(form, examples, check_environment, short=60, long=500)
    assert seen["answered"]
    assert seen["refused"]


@BOTH_FORMS
def test_rude_model_folders(folder: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short form takes the count of what was read for granted, since torch takes seconds to begin."""
    entry = catalog.model("sd2")
    good: dict[str, Any] = {"model_index.json": {"_class_name": entry.pipeline}}
    for name, part in entry.components.items():
        good["model_index.json"][name] = [part.library, part.cls]
        good[f"{name}/config.json"] = dict(part.nano)
    good["scheduler/scheduler_config.json"] = dict(entry.scheduler["config"])
    if form != LONG:
        counted = {phase: {"flops": 1.0, "moved_bytes": 1.0, "kernels": 1.0} for phase in ("text", "denoise", "decode")}
        monkeypatch.setattr("analysis.work.ondemand._sums", lambda *_: counted)
    one = st.sampled_from(sorted(good)).flatmap(
        lambda name: st.tuples(st.just(name), documents(good[name], json.dumps))
    )

    def check_model_folder(example: tuple[str, bytes]) -> str:
        model = folder / "model"
        shutil.rmtree(model, ignore_errors=True)
        for name, document in good.items():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_text(json.dumps(document))
        (model / example[0]).write_bytes(example[1])
        return answer(folder, ["flops", str(model), "--resolution", "64", "--json"])

    seen = hold(form, one, check_model_folder, short=40, long=150)
    assert seen["answered"]
    assert seen["refused"]


@pytest.mark.parametrize("damage", ["head", "words", "text"])
def test_a_damaged_backup_is_named_and_nothing_is_restored(folder: Path, damage: str) -> None:
    assert run(["db", "backup", "backup.db"]) == 0
    raw = bytearray((folder / "backup.db").read_bytes())
    at = {"head": 100, "words": raw.index(b"CREATE TABLE"), "text": raw.index(b'"name": "weekend"')}[damage]
    raw[at : at + 9] = b"\xff" * 9
    (folder / "backup.db").write_bytes(raw)
    said = ask(["db", "restore", "backup.db", "--db", "sqlite:///new.db"])
    assert said.code == 2, said
    assert said.err.startswith("farm: file: backup.db: a file that `farm db backup` wrote, undamaged ("), said
    assert "tmp" not in said.err
    assert ask(["sweep", "list", "--json", "--db", "sqlite:///new.db"]).out.replace(" ", "").strip() in (
        "",
        '{\n"sweeps":[]\n}',
    )


@BOTH_FORMS
def test_rude_backups(folder: Path, form: str) -> None:
    """A backup that cannot be read leaves the database that it was for without a row."""
    assert run(["db", "backup", "backup.db"]) == 0
    raw = (folder / "backup.db").read_bytes()
    places = st.lists(st.tuples(st.integers(0, len(raw) - 1), st.binary(min_size=1, max_size=20)), max_size=40)
    ends = st.one_of(
        st.just(len(raw)), st.just(len(raw)), st.integers(0, len(raw)), st.sampled_from([0, 16, 100, 4096])
    )

    def check_backup(example: tuple[list[tuple[int, bytes]], int]) -> str:
        content = bytearray(raw)
        for at, stretch in example[0]:
            content[at : at + len(stretch)] = stretch
        del content[example[1] :]
        (folder / "rude.db").write_bytes(content)
        (folder / "new.db").unlink(missing_ok=True)
        outcome = answer(folder, ["db", "restore", "rude.db", "--db", "sqlite:///new.db", "--json"], codes=(0, 1, 2))
        assert (folder / "rude.db").read_bytes() == bytes(content)
        if outcome != "answered" and (folder / "new.db").exists():
            engine = create_engine(f"sqlite:///{folder / 'new.db'}")
            with closing(engine.raw_connection()), engine.connect() as db:
                tables = set(inspect(db).get_table_names()) & {"sweep", "job", "measurement", "dataset_row"}
                assert not any(db.execute(text(f"SELECT 1 FROM {name}")).first() for name in tables)
            engine.dispose()
        return outcome

    seen = hold(form, st.tuples(places, ends), check_backup, short=12, long=150)
    assert seen["answered"]
    assert seen["refused"]
