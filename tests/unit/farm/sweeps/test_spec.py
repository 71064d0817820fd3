"""A sweep file becomes jobs: what is asked, in which order, and every way in which it can be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from farm.domain import RequestError
from farm.files.yaml import MAX_BYTES, read_yaml
from farm.sweeps.read import parse_spec, read_spec
from farm.sweeps.spec import SweepSpec

ROOT = Path(__file__).resolve().parents[4]
SMALL = {
    "models": ["sd2"], "gpus": ["a100"], "resolutions": [512], "steps": [10], "precisions": ["fp16"],
    "cfg": [False], "prompts": [1],
}  # fmt: skip


def parse(**keys: object) -> SweepSpec:
    return parse_spec(SMALL | keys, folder=Path())


def points(spec: SweepSpec) -> list:
    return [configuration for configuration, _ in spec.jobs()]


class TestGrid:
    def test_only_models_and_gpus_are_required_and_the_rest_is_the_papers(self):
        spec = parse_spec({"models": ["flux"], "gpus": ["a100"]}, folder=Path())
        found = points(spec)
        assert len(found) == len(set(found)) == 240
        assert spec.axes == read_spec(ROOT / "deploy/sweeps/paper.yaml").axes | {"model": ("flux",), "gpu": ("a100",)}

    def test_the_papers_is_2880_points(self):
        assert len(set(points(read_spec(ROOT / "deploy/sweeps/paper.yaml")))) == 2880

    def test_shipped_copy_is_the_one_in_deploy(self):
        import farm

        shipped = Path(farm.__file__).parent / "sweeps/data/paper.yaml"
        assert shipped.read_bytes() == (ROOT / "deploy/sweeps/paper.yaml").read_bytes()

    def test_what_ships_is_read_by_name_unless_a_file_is_called_so(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert read_spec("paper") == read_spec(ROOT / "deploy/sweeps/paper.yaml")
        assert read_spec("showcase").name == "demo"
        with pytest.raises(RequestError, match="papers"):
            read_spec("papers")
        Path("paper").write_text("{name: mine, models: [flux], gpus: [a100]}")
        assert read_spec("paper").name == "mine"

    def test_pairs_are_width_and_height(self):
        found = points(parse(resolutions=[512, [256, 768]]))
        assert {(c.width, c.height) for c in found} == {(512, 512), (256, 768)}

    def test_scalars_are_lists_of_one_and_texts_are_numbers(self):
        (point,) = points(parse(models="sd2", steps="10", cfg="on", resolutions=512, batch=1))
        assert (point.steps, point.cfg, point.width) == (10, True, 512)

    def test_values_given_twice_count_once(self):
        assert len(points(parse(steps=[10, 10, 20]))) == 2

    def test_seed_is_the_configurations(self):
        assert {c.seed for c in points(parse(seed=7))} == {7}

    def test_exclude_takes_away_what_matches_every_key(self):
        found = points(
            parse(models=["sd2", "flux"], precisions=["fp16", "fp32"], exclude=[{"model": "flux", "precision": "fp32"}])
        )
        assert {(c.model, c.precision) for c in found} == {("sd2", "fp16"), ("sd2", "fp32"), ("flux", "fp16")}

    def test_exclude_takes_lists_and_resolutions(self):
        found = points(
            parse(
                steps=[1, 2, 3], resolutions=[256, [256, 512]], exclude=[{"steps": [1, 2]}, {"resolution": [256, 512]}]
            )
        )
        assert [(c.steps, c.width, c.height) for c in found] == [(3, 256, 256)]

    def test_include_adds_rows_once_and_fills_them_from_the_sweep(self):
        found = points(
            parse(
                include=[
                    {"model": "flux", "steps": 50},
                    {"steps": 10},  # in the grid already
                    {"width": 256, "height": 512, "weights": "pretrained"},
                ],
                exclude=[{"model": "flux"}],
            )
        )
        assert sorted((c.model, c.steps, c.width, c.height, c.weights) for c in found) == [
            ("flux", 50, 512, 512, "random"),
            ("sd2", 10, 256, 512, "pretrained"),
            ("sd2", 10, 512, 512, "random"),
        ]

    def test_include_says_what_it_lacks(self):
        with pytest.raises(RequestError, match=r"include\[0\]\.steps: .*required"):
            parse(steps=[1, 2], include=[{"model": "flux"}])


class TestOrder:
    SPEC = {"models": ["sd2", "flux"], "precisions": ["fp16", "fp32"], "steps": list(range(1, 31))}  # noqa: RUF012

    def test_one_pipeline_after_the_other(self):
        order = points(parse(**self.SPEC, include=[{"model": "flux", "precision": "fp16", "steps": 99}]))
        assert len(order) == 121
        assert sum(a.pipeline != b.pipeline for a, b in pairwise(order)) == 3

    def test_shuffled_by_the_seed(self):
        first, again, other = (points(parse(**self.SPEC, seed=seed)) for seed in (1, 1, 2))
        assert first == again
        assert [c.steps for c in first] != [c.steps for c in other]

    def test_no_axis_lines_up_with_time(self):
        # Rank correlation of steps with position: 3 standard errors of a random order of 200 are 0.21.
        order = [c.steps for c in points(parse(steps=list(range(1, 201))))]
        n = len(order)
        d2 = sum((place + 1 - steps) ** 2 for place, steps in enumerate(order))
        assert abs(1 - 6 * d2 / (n * (n * n - 1))) < 0.21

    def test_replicates_come_in_rounds(self):
        rounds = [replicate for _, replicate in parse(steps=[1, 2, 3], replicates=2).jobs()]
        assert rounds == [0, 0, 0, 1, 1, 1]


class TestLimits:
    def test_deadline_in_hours_or_as_a_time(self):
        soon = parse(deadline=2).deadline
        assert timedelta(hours=1.9) < soon - datetime.now(UTC) <= timedelta(hours=2)
        assert parse(deadline="2999-01-01T12:00+02:00").deadline == datetime(2999, 1, 1, 10, tzinfo=UTC)

    def test_budget(self):
        assert parse(budget_joules=1e6).budget_joules == 1e6

    def test_a_billion_points_are_refused_before_they_are_made(self):
        wide = {"steps": list(range(1, 1001)), "prompts": list(range(1, 1001)), "resolutions": list(range(8, 8008, 8))}
        with pytest.raises(RequestError, match=r"1,000,000,000 jobs: at most 10,000,000"):
            parse(**wide)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"models": None}, "models: None: required"),
        ({"models": ["sd3"]}, "did you mean sd35"),
        ({"models": [3]}, "models: 3: a name"),
        ({"gpus": ["a1000"]}, "did you mean a100"),
        ({"gpus": []}, "gpus: []: at least one value"),
        ({"steps": []}, "steps: []: at least one value"),
        ({"steps": [-1]}, "steps: -1"),
        ({"steps": [10**9]}, "steps: 1000000000"),
        ({"steps": [1.5]}, "steps: 1.5: a whole number"),
        ({"steps": [True]}, "steps: True: a whole number"),
        ({"steps": [float("inf")]}, "steps: inf: a whole number"),
        ({"steps": {"from": 1}}, "steps"),
        ({"precisions": ["fp8"]}, "precision: fp8: one of fp16, bf16, fp32"),
        ({"precisions": [16]}, "precision: 16: one of"),
        ({"resolutions": [500.5]}, "resolutions: 500.5"),
        ({"resolutions": [4]}, "width: 4"),
        ({"resolutions": [10**6]}, "width: 1000000"),
        ({"resolutions": [[1, 2, 3]]}, r"resolutions: [1, 2, 3]: a side"),
        ({"resolutions": [513]}, "width: 513: sd2 takes multiples of"),
        ({"cfg": ["maybe"]}, "cfg: maybe: 0 or 1"),
        ({"prompts": [0]}, "prompts: 0"),
        ({"batch": [0]}, "batch: 0"),
        ({"weights": "stolen"}, "weights: stolen: one of random, pretrained"),
        ({"size": "huge"}, "size: huge: one of full, nano"),
        ({"replicates": 0}, "replicates: 0: a whole number from 1"),
        ({"replicates": "x"}, "replicates: x"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": None}, "seed: None"),
        ({"name": "a\nb"}, "name"),
        ({"name": ["a"]}, "name"),
        ({"modles": ["sd2"]}, "sweep: modles: unknown key; did you mean models?"),
        ({7: 1}, "sweep: 7: unknown key"),
        ({"include": {}}, "include: {}: a list of rows"),
        ({"include": ["sd2"]}, "include[0]: sd2: a row"),
        ({"include": [{}]}, "include[0]: {}: a row"),
        ({"include": [{"step": 1}]}, "include[0]: step: unknown key; did you mean steps?"),
        ({"exclude": [{"gpu": "b100"}]}, "did you mean"),
        ({"exclude": [{"width": 512}]}, "either resolution, or both width and height"),
        ({"prompts_file": 3}, "prompts_file: 3"),
        ({"deadline": -1}, "deadline: -1: hours from now"),
        ({"deadline": "soon"}, "deadline: soon"),
        ({"deadline": 1e300}, "deadline: 1e+300"),
        ({"deadline": "2001-01-01"}, "deadline: 2001-01-01"),
        ({"budget_joules": 0}, "budget_joules: 0"),
        ({"budget_joules": float("nan")}, "budget_joules: nan"),
        ({"budget_joules": "much"}, "budget_joules: much"),
        ({"budget_joules": 10**400}, "budget_joules: 1000"),
        ({"prompts_file": "~no such user/x"}, "prompts_file: ~no such user/x: a path without ~"),
    ],
)
def test_wrong_values_are_named(keys, message):
    with pytest.raises(RequestError) as raised:
        parse_spec({**SMALL, **keys}, folder=Path())
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


class TestFile:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"- a\n- b\n", "a mapping"),
            (b"", "a mapping"),
            (b"just text", "a mapping"),
            (b"\x7fELF\x00\x01\x80\xff", "not UTF-8"),
            (b"models: [sd2\ngpus: x: y", "valid YAML, line"),
            (b"models: &a [*a]\n", "without a reference to itself"),
            (b"x: &x {y: *x}\n", "without a reference to itself"),
            (b"a: !!python/object/apply:os.system [echo]\n", "could not determine a constructor"),
            (b"a: !!int much\n", "valid YAML"),
            (b"models: [sd2]\ngpus: [a100]\ndeadline: 2030-02-31\n", "deadline: 2030-02-31: hours from now"),
            (b"models: \x00\n", "valid YAML"),
            (b"[" * 5000, "nested"),
            (b"a: &a {<<: *a}\n", "reference to itself"),
            (b"? [a, b]\n: 1\n", "unhashable key"),
            (b"steps: [1]\nsteps: [2]\n", "gives the key steps once"),
        ],
    )
    def test_that_is_no_sweep(self, tmp_path, content, message):
        path = tmp_path / "sweep.yaml"
        path.write_bytes(content)
        with pytest.raises(RequestError) as raised:
            read_spec(path)
        assert message in str(raised.value)

    def test_that_unfolds_to_gigabytes(self, tmp_path):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        path = tmp_path / "bomb.yaml"
        path.write_text("\n".join(lines))
        with pytest.raises(RequestError, match="references unfolded"):
            read_spec(path)
        path.write_text(
            "\n".join(["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))])
        )
        with pytest.raises(RequestError, match="references unfolded"):
            read_spec(path)

    def test_that_is_too_large(self, tmp_path):
        path = tmp_path / "large.yaml"
        path.write_bytes(b"# " + b"x" * MAX_BYTES)
        with pytest.raises(RequestError, match="at most 250,000 bytes"):
            read_spec(path)

    def test_that_is_missing_or_a_folder(self, tmp_path):
        with pytest.raises(RequestError, match="No such file"):
            read_spec(tmp_path / "none.yaml")
        with pytest.raises(RequestError, match="Is a directory"):
            read_spec(tmp_path)

    def test_references_that_end_are_fine(self, tmp_path):
        path = tmp_path / "sweep.yaml"
        path.write_text("models: &m [sd2]\ngpus: [a100]\nexclude: [{model: *m, steps: 10}]\n")
        assert read_spec(path).exclude[0]["model"] == ("sd2",)
        assert read_spec(path).name == "sweep"

    @pytest.mark.parametrize(
        ("line", "key", "meant"),
        [
            ("steps: [010, 020]", "steps", [10, 20]),
            ("steps: [08, 010]", "steps", [8, 10]),
            ("steps: !!int 010", "steps", [10]),
            ("steps: [1e1, 20.0]", "steps", [10, 20]),
            ("prompts: [0100]", "prompts", [100]),
            ("resolutions: [0512, [0256, 512]]", "resolutions", [(512, 512), (256, 512)]),
            ("include: [{steps: 10, resolution: [0512, 768]}]", "include", [(512, 768)]),
            ("cfg: [yes, no]", "cfg", [True, False]),
            ("resolutions: [512x768, '1024×1024']", "resolutions", [(512, 768), (1024, 1024)]),
            ("precisions: [float16, torch.float32]", "precisions", ["fp16", "fp32"]),
            ("cfg: [On, off]", "cfg", [True, False]),
            ("cfg: [true, FALSE]", "cfg", [True, False]),
            ("budget_joules: 1e9", "budget_joules", 1e9),
            ("deadline: 2030-01-31 18:00", "deadline", "2030-01-31T18:00:00+00:00"),
            ("name: no", "name", "no"),
            ("name: off", "name", "off"),
            ("name: 10:30", "name", "10:30"),
            ("name: 0100", "name", "0100"),
            ("name: 1_000", "name", "1_000"),
            ("name: 0x10", "name", "0x10"),
            ("name: 2030-01-31 18:00:00 +2", "name", "2030-01-31 18:00:00 +2"),
            ("name: =", "name", "="),
            ("name: ~", "name", "sweep"),
        ],
    )
    def test_plain_values_are_what_they_look_like(self, tmp_path, line, key, meant):
        path = tmp_path / "sweep.yaml"
        base = {"models": "[sd2]", "gpus": "[a100]", "resolutions": "[512]", "steps": "[10]", "precisions": "[fp16]"}
        base |= {"cfg": "[false]", "prompts": "[100]"}
        path.write_text("\n".join([*(f"{k}: {v}" for k, v in base.items() if not line.startswith(k)), line]))
        document = read_spec(path).to_dict()
        found = document["include"][0]["resolution"] if key == "include" else document[key]
        assert found == meant
        assert type(found) is type(meant)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("prompts: [10:30]", "prompts: 10:30: a whole number"),
            ("prompts: [1_000]", "prompts: 1_000: a whole number"),
            ("steps: [0x10]", "steps: 0x10: a whole number"),
            ("steps: [0o20]", "steps: 0o20: a whole number"),
            ("steps: [0b11]", "steps: 0b11: a whole number"),
            ("name: true", "name: True: a text, in quotes: 'true'"),
            ("name: 1.10", "name: 1.1: a text, in quotes"),
            ("budget_joules: 1_000", "budget_joules: 1_000"),
        ],
    )
    def test_what_may_be_meant_otherwise_is_refused(self, tmp_path, line, message):
        path = tmp_path / "sweep.yaml"
        path.write_text(f"models: [sd2]\ngpus: [a100]\n{line}\n")
        with pytest.raises(RequestError) as raised:
            read_spec(path)
        assert message in str(raised.value)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_a_byte_order_mark_states_the_encoding(self, tmp_path, encoding):
        path = tmp_path / "sweep.yaml"
        path.write_text("name: Küche\nmodels: [sd2]\ngpus: [a100]\n", encoding=encoding)
        assert read_spec(path).name == "Küche"

    def test_reads_what_a_plain_parser_reads(self):
        path = ROOT / "deploy/sweeps/paper.yaml"
        assert read_yaml(path) == yaml.safe_load(path.read_text())
