"""What every law must do. A new law is one module of analysis/laws, and passes this as it is."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from analysis import laws
from analysis.laws.base import Law
from analysis.prediction import paper_rows
from analysis.table import ARRAY_COLUMNS, DataError, Table
from farm.domain import PHASES, RequestError
from farm.domain.parsing import MAX_JOULES, MIN_JOULES
from tests.law_rows import grid, simulated

TRUTH = {"ln_a": -20.6, "alpha": 0.99, "beta_fp32": 2.0, "beta_res": -0.04}

# check_estimator feeds matrices of floats to fit, and no float is the name of a model. With two_d_array=False it runs
# what is left; these need no data and are run one by one. All others of scikit-learn's checks are excepted for that
# one reason; what they are for (idempotent fits, no change of parameters, dtype, sample weights, pickling, pipelines,
# data frames) is tested on configurations below.
DATA_FREE = (
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_estimator_get_tags_default_keys",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.fixture(scope="module", params=laws.names())
def fresh(request: pytest.FixtureRequest) -> Law:
    return laws.get(request.param)()


@pytest.fixture(scope="module")
def rows() -> Table:
    """Every third row of the paper: all models, sizes, precisions."""
    return paper_rows()[::3]


@pytest.fixture(scope="module")
def fitted(fresh: Law, rows: Table) -> Law:
    return clone(fresh).fit(rows)


def test_its_name_is_that_of_its_module(fresh: Law) -> None:
    assert type(fresh) is laws.get(fresh.name)
    assert isinstance(fresh.version, int)


def test_an_unknown_law_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(RequestError, match="paper, work"):
        laws.get("guess")


# --- scikit-learn


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # of the checks that need matrices
def test_check_estimator(fresh: Law) -> None:
    results = estimator_checks.check_estimator(clone(fresh), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []


@pytest.mark.parametrize("check", [name for name in DATA_FREE if hasattr(estimator_checks, name)])
def test_checks_of_scikit_learn_that_need_no_data(fresh: Law, check: str) -> None:
    getattr(estimator_checks, check)(fresh.name, clone(fresh))


def test_it_is_a_regressor_that_takes_no_unknown_parameter(fresh: Law) -> None:
    assert is_regressor(fresh)
    assert repr(fresh) == f"{type(fresh).__name__}()"
    with pytest.raises(ValueError, match="no-such"):
        fresh.set_params(**{"no-such": 1})


def test_predict_before_fit_is_refused(fresh: Law) -> None:
    with pytest.raises(NotFittedError):
        clone(fresh).predict(grid())


def test_fit_returns_itself_leaves_parameters_and_repeats(fresh: Law, fitted: Law, rows: Table) -> None:
    law = clone(fresh)
    before = deepcopy(law.get_params())
    assert law.fit(rows) is law
    assert law.get_params() == before
    first = law.predict(rows)
    assert (law.fit(rows).predict(rows) == first).all()


def test_every_form_of_the_same_rows_gives_the_same_fit(fresh: Law, fitted: Law, rows: Table) -> None:
    configurations = list(rows.configurations())
    energies = rows.energy_joules
    array = np.array([[getattr(c, name) for name in ARRAY_COLUMNS] for c in configurations], dtype=object)
    frame = pd.DataFrame(array, columns=list(ARRAY_COLUMNS))
    expected = clone(fresh).fit(rows, energies).predict(rows)
    for form in (configurations, array, frame, [c.to_dict() for c in configurations]):
        for y in (energies, energies.tolist(), pd.Series(energies), energies[:, None]):
            assert clone(fresh).fit(form, y).predict(form) == pytest.approx(expected, rel=1e-9)
            if form is not array:
                break


def test_clone_pickle_and_deepcopy(fresh: Law, fitted: Law) -> None:
    assert not clone(fitted).__sklearn_is_fitted__()
    for copy in (pickle.loads(pickle.dumps(fitted)), deepcopy(fitted)):
        assert (copy.predict(grid()) == fitted.predict(grid())).all()


def test_pipelines_and_cross_validation_with_groups(fresh: Law, rows: Table) -> None:
    pipe = make_pipeline(FunctionTransformer(Table.of), clone(fresh))
    frame = pd.DataFrame({name: getattr(rows, name) for name in ARRAY_COLUMNS})
    energies = rows.energy_joules
    assert pipe.fit(frame, energies).predict(frame).shape == (len(rows),)
    scores = cross_validate(clone(fresh), frame, energies, groups=rows.model, cv=GroupKFold(3), error_score="raise")
    assert len(scores["test_score"]) == 3
    within = cross_val_score(clone(fresh), rows, energies, cv=KFold(2, shuffle=True, random_state=0))
    assert within.min() > 0.9


def test_the_order_of_rows_does_not_matter(fresh: Law, fitted: Law, rows: Table) -> None:
    order = np.random.default_rng(0).permutation(len(rows))
    again = clone(fresh).fit(rows[order])
    assert again.predict(grid()) == pytest.approx(fitted.predict(grid()), rel=1e-5)
    assert again.data_sha256_ == fitted.data_sha256_


def test_equal_weights_are_no_weights(fresh: Law, fitted: Law, rows: Table) -> None:
    weighted = clone(fresh).fit(rows, sample_weight=np.ones(len(rows)))
    assert weighted.predict(grid()) == pytest.approx(fitted.predict(grid()), rel=1e-6)
    with pytest.raises(DataError, match="sample_weight"):
        clone(fresh).fit(rows, sample_weight=np.zeros(len(rows)))


# --- energies


def test_energies_are_positive_and_finite_and_grow_with_the_work(fitted: Law) -> None:
    table = grid(models=["flux", "sd35", "qwen", "sd2"])
    energy = fitted.predict(table)
    assert energy.shape == (len(table),)
    assert (np.isfinite(energy) & (energy > 0)).all()
    by_steps = [fitted.predict(grid(steps=[steps])) for steps in (10, 20, 50)]
    assert (np.diff(by_steps, axis=0) > 0).all()


def test_seconds_and_phases_where_the_law_knows_them(fitted: Law) -> None:
    seconds = fitted.predict_seconds(grid())
    assert seconds is None or (np.isfinite(seconds) & (seconds > 0)).all()
    phases = fitted.predict_phases(grid())
    if phases is not None:
        assert set(phases) == set(PHASES)
        assert sum(phases.values()) == pytest.approx(fitted.predict(grid()), rel=1e-9)


def test_intervals_hold_the_prediction_and_grow_with_the_level(fitted: Law) -> None:
    widths = []
    for level in (0.5, 0.8, 0.95):
        energy, low, high = fitted.predict(grid(), level=level)
        assert ((low > 0) & (low < energy) & (energy < high) & np.isfinite(high)).all()
        widths.append(high / low)
    assert (np.diff(widths, axis=0) > 0).all()


def test_an_interval_is_of_ninety_percent_where_no_level_is_asked_for(fitted: Law) -> None:
    asked, unasked = fitted.forecast(grid(), 0.9), fitted.forecast(grid())
    assert (unasked.low == asked.low).all()
    assert (unasked.high == asked.high).all()


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, float("nan")])
def test_a_level_that_is_none_is_refused(fitted: Law, level: float) -> None:
    with pytest.raises(DataError, match="level"):
        fitted.predict(grid(), level=level)


def test_a_new_model_and_a_new_gpu_widen_the_interval_and_are_said(fresh: Law) -> None:
    law = clone(fresh).fit(paper_rows().where(model=["flux", "qwen"]))
    known, model, gpu = (
        grid(models=[name], gpus=[board], precisions=["fp16"])
        for name, board in (("flux", "a100"), ("sd35", "a100"), ("flux", "h100"))
    )
    width = [float(np.median(np.divide(*law.predict(table, level=0.9)[:0:-1]))) for table in (known, model, gpu)]
    assert width[0] < width[1]
    assert width[0] < width[2]
    assert "never measured" in law.rests_on(model)
    assert "never measured" in law.rests_on(gpu)
    assert "never measured" not in law.rests_on(known)


# --- refusals


@pytest.mark.parametrize("energy", [0.0, -3.0, float("nan"), float("inf")])
def test_an_energy_that_is_none_is_refused_by_row(fresh: Law, rows: Table, energy: float) -> None:
    energies = rows.energy_joules.copy()
    energies[4] = energy
    with pytest.raises(DataError, match=rf"row {rows.number[4]}, energy_joules"):
        clone(fresh).fit(rows, energies)


def test_the_smallest_and_the_largest_energy_that_can_be_measured_are_used(fresh: Law, rows: Table) -> None:
    energies = rows.energy_joules.copy()
    energies[:2] = MIN_JOULES, MAX_JOULES
    assert fresh.usable(rows, energies).energy_joules[:2].tolist() == [MIN_JOULES, MAX_JOULES]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(fresh: Law, rows: Table, weight: float) -> None:
    weights = np.ones(len(rows))
    weights[4] = weight
    with pytest.raises(DataError, match="sample_weight"):
        clone(fresh).fit(rows, sample_weight=weights)


def test_videos_are_for_laws_that_count_their_frames(fitted: Law) -> None:
    image = {"model": "wan2.1-1.3b", "gpu": "a100", "width": 832, "height": 480, "steps": 50, "precision": "bf16"}
    one, many = ([image | {"cfg": True, "prompts": 1, "frames": frames}] for frames in (1, 81))
    assert fitted.predict(one)[0] > 0
    if fitted.takes_videos:
        assert fitted.predict(many)[0] > 5 * fitted.predict(one)[0]
    else:
        with pytest.raises(DataError, match="frames of a video"):
            fitted.predict(many)


def test_energies_of_another_length_are_refused(fresh: Law, rows: Table) -> None:
    with pytest.raises(ValueError, match="one a row"):
        clone(fresh).fit(rows, rows.energy_joules[:-1])
    even = rows[: len(rows) // 2 * 2]
    with pytest.raises(ValueError, match="one a row"):
        clone(fresh).fit(even, even.energy_joules.reshape(-1, 2))


def test_rows_of_different_origin_are_not_fitted_together(fresh: Law) -> None:
    table = grid()
    energies = simulated(table, TRUTH, {"a100": 0.0}, noise=0.1).energy_joules
    names = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts")
    columns = {name: getattr(table, name) for name in names}
    for flag in ("simulated", "estimated"):
        flags = [flag if place % 2 else "" for place in range(len(table))]
        mixed = Table.from_columns({**columns, "energy_joules": energies, "flags": flags})
        with pytest.raises(DataError, match=f"120 {flag}"):
            clone(fresh).fit(mixed)
        alone = clone(fresh).fit(mixed.where(origin=flag))
        assert alone.scope["origin"] == flag


def test_spoiled_and_unknown_rows_are_left_out_counted_and_listed(fresh: Law) -> None:
    table = grid()
    energies = simulated(table, TRUTH, {"a100": 0.0}, noise=0.1).energy_joules.copy()
    energies[3] = 1e12
    energies[9] = np.nan
    names = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts")
    columns = {name: getattr(table, name) for name in names}
    columns["model"] = np.where(np.arange(len(table)) == 20, "no-such-model", table.model)
    flags = ["gpu_lost idle_drift" if place in (3, 4) else "" for place in range(len(table))]
    law = clone(fresh).fit(Table.from_columns({**columns, "energy_joules": energies, "flags": flags}))
    left = {entry["name"]: entry for entry in law.left_out_ if entry["what"] == "rows"}
    assert left["flagged gpu_lost idle_drift"]["count"] == 2
    assert left["flagged gpu_lost idle_drift"]["numbers"] == [4, 5]
    assert left["energy not known"]["numbers"] == [10]
    assert [entry["numbers"] for name, entry in left.items() if "no-such-model" in name] == [[21]]
    assert law.n_ == len(table) - 4


def test_too_few_rows_are_refused_or_served_by_the_prior(fresh: Law) -> None:
    """A law either needs rows and says how many, or answers from what was known beforehand."""
    for n in (0, 1, 2):
        few = paper_rows().where(model="flux")[:n]
        if n < fresh.minimum_rows:
            with pytest.raises(DataError, match="rows"):
                clone(fresh).fit(few)
        else:
            energy, low, high = clone(fresh).fit(few).predict(grid(), level=0.9)
            assert ((low > 0) & (low < energy) & (energy < high)).all()


# --- saved and loaded


def test_plain_json_with_hash_and_versions_that_predicts_the_same(fitted: Law) -> None:
    document = json.loads(fitted.to_json())
    assert document["law"] == fitted.name
    assert document["law_version"] == fitted.version
    assert document["data_sha256"] == fitted.data_sha256_
    assert document["code_version"].startswith("0.")
    again = Law.from_json(fitted.to_json())
    for one, other in zip(fitted.predict(grid(), level=0.9), again.predict(grid(), level=0.9), strict=True):
        assert one == pytest.approx(other, rel=1e-12)
    assert again.params_ == fitted.params_
    assert again.params_std_ == fitted.params_std_
    assert json.loads(again.to_json()) == document


def test_another_version_of_the_law_is_refused(fitted: Law) -> None:
    document = json.loads(fitted.to_json())
    document["law_version"] += 1
    with pytest.raises(RequestError, match="law_version"):
        Law.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"law": "paper"}', "nonsense"])
def test_what_is_no_fit_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        Law.from_json(text)


def test_a_fit_without_what_it_knew_is_refused(fitted: Law) -> None:
    document = json.loads(fitted.to_json())
    with pytest.raises(RequestError, match="a document that to_json"):
        Law.from_document(document | {"state": dict.fromkeys(document["state"])})


def test_an_update_equals_a_fit_to_all_rows(fresh: Law) -> None:
    table = paper_rows()[::2]
    updated = clone(fresh).fit(table[:60]).updated(table)
    whole = clone(fresh).fit(table)
    assert updated.predict(grid()) == pytest.approx(whole.predict(grid()), rel=1e-4)
    assert updated.n_ == whole.n_
    assert updated.data_sha256_ == whole.data_sha256_


def test_a_forecast_is_what_its_readers_read_and_of_one_row_what_it_is_of_many(fitted: Law) -> None:
    table = grid(models=["flux", "sd2"], gpus=["a100", "h100"])
    answer = fitted.forecast(table, 0.8)
    assert (answer.joules == fitted.predict(table)).all()
    for bound, read in zip((answer.joules, answer.low, answer.high), fitted.predict(table, level=0.8), strict=True):
        assert (bound == read).all()
    one = fitted.forecast(table[[7]], 0.8)
    assert one.joules == pytest.approx(answer.joules[[7]], rel=1e-9)
    assert one.high == pytest.approx(answer.high[[7]], rel=1e-9)
    for phase, joules in (answer.phases or {}).items():
        assert one.phases[phase] == pytest.approx(joules[[7]], rel=1e-9)


def test_a_forecast_of_no_row_is_empty(fitted: Law) -> None:
    answer = fitted.forecast(grid()[:0])
    columns = [answer.joules, answer.low, answer.high, *(answer.phases or {}).values()]
    assert [len(column) for column in columns] == [0] * len(columns)
