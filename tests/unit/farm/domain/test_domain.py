"""The value types: identity and bounds."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain import (
    Configuration,
    Measurement,
    PhaseEnergy,
    RequestError,
    origin,
)
from farm.domain.configuration import MAX_PROMPTS, MAX_SIDE, MAX_STEPS
from farm.domain.documents import json_text

BASE = {"model": "flux", "gpu": "a100", "resolution": 512, "steps": 20, "precision": "fp16", "cfg": 0, "prompts": 25}

configurations = st.builds(
    Configuration,
    model=st.sampled_from(["sd2", "sd35", "flux", "qwen"]),
    gpu=st.sampled_from(["a100", "a4000", "cpu"]),
    width=st.integers(8, MAX_SIDE),
    height=st.integers(8, MAX_SIDE),
    steps=st.integers(1, MAX_STEPS),
    precision=st.sampled_from(["fp16", "bf16", "fp32"]),
    cfg=st.booleans(),
    prompts=st.integers(4, MAX_PROMPTS),
    batch=st.integers(1, 4),
    weights=st.sampled_from(["random", "pretrained"]),
    size=st.sampled_from(["full", "nano"]),
    seed=st.integers(0, 2**40),
)


@given(configurations)
def test_a_configuration_survives_json_and_text(configuration):
    document = json.loads(json.dumps(configuration.to_dict()))
    assert Configuration.from_mapping(document) == configuration
    as_text = {k: str(v) for k, v in document.items()}
    assert Configuration.from_mapping(as_text).key == configuration.key


@given(configurations, configurations)
def test_the_key_is_the_identity(one, other):
    assert (one.key == other.key) == (one == other)


def test_the_key_does_not_change_between_versions():
    """Measurements of years rest on it."""
    assert Configuration.from_mapping(BASE).key == "378674f260581a5ee36ef6aa7a32a6bf"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": -5}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": float("inf")}, "steps"),
        ({"steps": "1e400"}, "steps"),
        ({"resolution": 10**9}, "width"),
        ({"resolution": None}, "resolution"),
        ({"precision": "fp8"}, "precision"),
        ({"cfg": "perhaps"}, "cfg"),
        ({"prompts": 2, "batch": 3}, "batch"),
        ({"weights": "stolen"}, "weights"),
        ({"size": "giant"}, "size"),
        ({"seed": -1}, "seed"),
        ({"model": "x" * 300}, "model"),
        ({"gpu": ""}, "gpu"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change, field):
    with pytest.raises(RequestError) as caught:
        Configuration.from_mapping({**BASE, **change})
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def measurement(**changes):
    values = {
        "measurement_id": "m1",
        "configuration": Configuration.from_mapping(BASE),
        "energy_joules": 1234.5,
        "energy_std_joules": 1.5,
        "idle_watts": 58.0,
        "duration_seconds": 10.0,
        "phases": {"denoise": PhaseEnergy(joules=1200.0, seconds=9.0, std_joules=1.0)},
        "meter": "nvml",
        "flags": ("throttled_power_cap",),
        "environment": {"driver": "580"},
        "measured_at": "2026-01-01T00:00:00Z",
    }
    return Measurement(**{**values, **changes})


def test_a_measurement_survives_json():
    found = measurement()
    document = json.loads(json.dumps(found.to_dict()))
    assert document["model"] == "flux"
    assert Measurement.from_dict(document) == found


def test_unknown_energy_spoils_and_is_null():
    assert measurement(energy_joules=None).spoiled
    assert measurement(energy_joules=None).to_dict()["energy_joules"] is None
    assert not measurement().spoiled


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_energy_that_is_no_number_is_refused(value):
    with pytest.raises(RequestError):
        measurement(energy_joules=value)


def test_flags_are_those_agreed_upon():
    with pytest.raises(RequestError):
        measurement(flags=("looks_odd",))
    assert measurement(flags=("counter_reset", "simulated")).flags == ("counter_reset", "simulated")


def test_origin():
    assert [origin(f) for f in ((), ("simulated", "estimated"), ("estimated",))] == [
        "measured",
        "simulated",
        "estimated",
    ]


def test_a_stored_measurement_of_0_1_0_is_read_by_its_new_names():
    stored = {**measurement().to_dict(), "environment": {"driver": "580", "twin": {"meter": "codecarbon"}}}
    assert Measurement.from_dict(stored).environment == {"driver": "580", "comparison": {"meter": "codecarbon"}}


def test_a_number_that_is_none_is_null_in_json_wherever_it_stands() -> None:
    document = {"a": math.nan, "b": [1.5, math.inf, ("x", -math.inf)], "c": {"d": None, 1: True}}
    assert json.loads(json_text(document)) == {"a": None, "b": [1.5, None, ["x", None]], "c": {"d": None, "1": True}}
