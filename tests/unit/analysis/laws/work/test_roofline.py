"""Seconds by class of work: bounds that no GPU can beat, and the shapes that waste its time."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.work import roofline
from analysis.laws.work.demand import demand
from analysis.laws.work.hardware import KERNEL_SECONDS, SHARES, SOFTMAX_WIDTH, machine, watts
from analysis.laws.work.law import WorkLaw
from analysis.laws.work.physics import COEFFICIENTS, respond
from analysis.laws.work.roofline import CLASSES, waste
from analysis.shipped import shipped_rows
from analysis.table import Table
from analysis.work import load
from analysis.work.format import polynomial
from farm import catalog

BASE: dict[str, object] = {
    "model": "flux", "gpu": "a100", "resolution": 1024, "steps": 1, "precision": "fp16", "cfg": False, "prompts": 1,
}  # fmt: skip


def one(**changes: object) -> Table:
    return Table.from_rows([BASE | changes])


@pytest.mark.parametrize("model", ["flux", "sd2", "qwen", "sd35"])
@pytest.mark.parametrize("gpu", sorted(name for name, entry in catalog.gpus().items() if not entry.is_processor))
def test_no_step_is_faster_than_the_peak_allows(model: str, gpu: str) -> None:
    seconds = demand(one(model=model, gpu=gpu)).seconds[0, 1].sum()
    work = load.load(model).totals("denoise", 1024, 1024)
    within_kernels = seconds - work.kernels * KERNEL_SECONDS
    assert 1.0 < within_kernels * catalog.gpu(gpu).peak["fp16"] / work.flops < 6.0


def test_fp32_products_run_on_plain_cores_and_convolutions_as_tf32() -> None:
    seconds = dict(zip(CLASSES, demand(one(precision="fp32")).seconds[0].T, strict=True))
    assert seconds["matmul"].sum() == 0
    assert seconds["fp32"][1] > 5 * seconds["attention"][1]
    half = dict(zip(CLASSES, demand(one()).seconds[0].T, strict=True))
    assert 1.5 < seconds["convolution"][2] / half["convolution"][2] < 2.5  # the decoder: half the rate, not a sixteenth
    assert half["fp32"][0] > 0  # T5 keeps one product of each layer in fp32


def test_two_passes_of_guidance_take_twice_the_time_and_a_batch_less() -> None:
    for model, ratio in (("flux", 2.0), ("sd35", None)):
        single, double = (demand(one(model=model, cfg=cfg)).seconds[0, 1].sum() for cfg in (False, True))
        assert double / single == pytest.approx(ratio) if ratio else 1.5 < double / single < 2.0


def test_waste_is_least_where_tiles_and_waves_are_full() -> None:
    def of(m: float, n: float, name: str = "matmul") -> float:
        return float(waste(name, np.array(1.0), np.array(m), np.array(n), np.array(3072.0), 108))

    assert of(128 * 108, 256.0 * 4) == pytest.approx(1.0)
    assert of(17.0, 3072.0) > 3  # seventeen tokens leave most of a tile empty
    assert of(4096.0, 3072.0) < 1.2
    assert of(128.0, 1280.0, "convolution") < of(128.0, 1280.0)  # splits of k fill the wave


@pytest.mark.parametrize(
    ("name", "rows", "columns", "share"),
    [
        ("matmul", 256, 128, 1.0), ("matmul", 128, 256, 1.0), ("matmul", 128, 128, 0.9), ("matmul", 128, 64, 0.75),
        ("matmul", 64, 64, 0.55), ("fp32", 128, 128, 1.0), ("fp32", 128, 64, 0.93), ("fp32", 64, 64, 0.85),
    ],
)  # fmt: skip
def test_a_product_of_one_full_wave_reaches_the_share_of_its_tile(
    name: str, rows: int, columns: int, share: float
) -> None:
    one_wave = np.array(108.0 * rows), np.array(float(columns)), np.array(512.0)  # k too short to be cut
    assert float(waste(name, np.array(1.0), *one_wave, 108)) == pytest.approx(1 / share)


@pytest.mark.parametrize(("model", "head"), [("flux", 128), ("sd35", 64), ("sdxl", 64)])
def test_attention_of_narrow_heads_is_slower_by_the_exponentials_of_each(model: str, head: int) -> None:
    """At 1,024 pixels tokens fill their tiles, or nearly; the rate of attention is that of heads 128 wide."""
    seconds = demand(one(model=model)).seconds[0, 1, CLASSES.index("attention")]
    groups = load.load(model).groups("denoise", "fp16", True)
    at = np.flatnonzero(np.array(groups.kind) == "attention")
    cells = (1024 / groups.scale[at])[None, :] ** 2
    flops = polynomial(groups.coefficients["flops"][at], cells, np.ones((1, 1))).sum()
    slower = (1 + SOFTMAX_WIDTH / head) / (1 + SOFTMAX_WIDTH / 128)
    assert seconds * machine("a100", "fp16").attention / flops == pytest.approx(slower, rel=0.05)


def test_an_image_takes_what_it_takes_on_its_side() -> None:
    """Whether the sides are multiples of the deepest layer's cells (64 pixels) or not."""
    sides = [(1016, 520), (520, 1016), (1024, 512), (512, 1024)]
    square = {name: value for name, value in BASE.items() if name != "resolution"}
    rows = [square | {"model": "sd2", "width": width, "height": height} for width, height in sides]
    seconds = demand(Table.from_rows(rows)).seconds.sum(axis=(1, 2))
    assert seconds[0] == pytest.approx(seconds[1], rel=1e-12)
    assert seconds[2] == pytest.approx(seconds[3], rel=1e-12)


def test_slopes_are_the_derivatives_of_energy_and_seconds() -> None:
    asked = demand(one(model="sd2", resolution=256, cfg=True, steps=20, prompts=3, batch=2))
    there = respond(asked, np.zeros((1, len(COEFFICIENTS))))
    assert (there.slope[0] != 0).sum() == len(COEFFICIENTS) - 1  # nothing of it is in fp32
    for place, name in enumerate(COEFFICIENTS):
        small = np.zeros((1, len(COEFFICIENTS)))
        small[0, place] = 1e-5
        up, down = (respond(asked, sign * small) for sign in (1, -1))
        by_energy = np.log(up.joules.sum() / down.joules.sum()) / 2e-5
        by_seconds = np.log(up.work_seconds.sum() / down.work_seconds.sum()) / 2e-5
        assert by_energy == pytest.approx(there.slope[0, place], rel=1e-4, abs=1e-9), name
        assert by_seconds == pytest.approx(there.work_slope[0, place], rel=1e-4, abs=1e-9), name


def test_a_board_at_its_limit_takes_longer_rather_than_more() -> None:
    """1 MJ above idle take at least 1 MJ over what the limit leaves, and hardly more where the work is short."""
    row = one(steps=1)
    response = respond(demand(row), np.zeros((1, len(COEFFICIENTS))))
    seconds, by_work = response.seconds(np.array([1e6]))
    assert seconds[0] == pytest.approx(1e6 / (400 - 58), rel=1e-3)
    assert by_work[0] < 1e-6
    seconds, by_work = response.seconds(np.array([1.0]))
    assert seconds[0] == pytest.approx(response.work_seconds.sum())
    assert by_work[0] > 1 - 1e-6


def test_a_lower_power_limit_saves_energy_and_costs_time() -> None:
    rows = Table.from_columns(
        {**{name: [value] * 3 for name, value in BASE.items()}, "power_limit_watts": [np.nan, 400.0, 250.0]}
    )
    response = respond(demand(rows), np.zeros((3, len(COEFFICIENTS))))
    joules = response.joules.sum(axis=1)
    seconds, _ = response.seconds(joules)
    assert joules[0] == joules[1]  # the board's own limit
    assert 0.6 < joules[2] / joules[0] < 0.9
    assert seconds[2] > seconds[0]
    assert joules[2] / seconds[2] <= 250 - 58 + 1e-9


def limited(model: str, gpu: str, limits: list[float], side: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Joules and seconds of one configuration by the most that the clock may be, MHz."""
    columns = {name: [value] * len(limits) for name, value in BASE.items()}
    same = {"model": [model] * len(limits), "gpu": [gpu] * len(limits), "resolution": [side] * len(limits)}
    rows = Table.from_columns({**columns, **same, "clock_limit_mhz": limits})
    response = respond(demand(rows), np.zeros((len(limits), len(COEFFICIENTS))))
    joules = response.joules.sum(axis=1)
    return joules, response.seconds(joules)[0]


def test_a_lower_clock_saves_energy_and_costs_time_that_the_memory_does_not() -> None:
    joules, seconds = limited("flux", "a100", [np.nan, 1410.0, 3000.0, 1200.0, 900.0])
    assert joules[0] == joules[1] == joules[2]  # the chip's own clock, and one that it never reaches
    assert seconds[0] == seconds[1] == seconds[2]
    assert joules[0] > joules[3] > joules[4] > 0.4 * joules[0]
    assert 1 < seconds[3] / seconds[0] < 1410 / 1200 < seconds[4] / seconds[0] < 1410 / 900
    fast, slow = (machine("a100", "fp16", clock=part) for part in (1.0, 0.5))
    assert slow.attention == fast.attention / 2
    assert fast.bandwidth / 2 < slow.bandwidth < fast.bandwidth


def test_a_host_that_is_waited_for_hides_a_lower_clock() -> None:
    _, seconds = limited("sd2", "h100", [np.nan, 1400.0], side=256)
    assert seconds[1] < 1.02 * seconds[0]


def test_rows_of_several_clocks_are_worked_out_as_each_alone() -> None:
    limits = [1100.0, np.nan, 1300.0, 1100.0]
    together = limited("sdxl", "a100", limits)
    alone = [limited("sdxl", "a100", [limit]) for limit in limits]
    assert together[0] == pytest.approx([joules[0] for joules, _ in alone])
    assert together[1] == pytest.approx([seconds[0] for _, seconds in alone])


def test_kernels_of_ampere_gain_with_multiprocessors_and_clock() -> None:
    """From an A100 to a B200 of the same kernels: 1.9 times the multiprocessors' cycles, 7.2 times the tensor peak."""
    ampere, blackwell = (machine(name, "fp16") for name in ("a100", "b200"))
    cycles = {
        name: catalog.gpu(name).multiprocessors * (catalog.gpu(name).boost_clock or 0) for name in ("a100", "b200")
    }
    gain = cycles["b200"] / cycles["a100"]
    assert blackwell.attention / ampere.attention == pytest.approx(gain, rel=0.02)
    assert blackwell.wide_attention / ampere.wide_attention == pytest.approx(gain, rel=0.02)
    assert gain < blackwell.bandwidth / ampere.bandwidth < catalog.gpu("b200").bandwidth / catalog.gpu("a100").bandwidth


def test_the_time_between_kernels_adds_to_each() -> None:
    """A step of SD 2 at 256 pixels has 744 kernels, most of them shorter than that time."""
    seconds = demand(one(model="sd2", resolution=256)).seconds[0, 1].sum()
    assert seconds > 744 * KERNEL_SECONDS + load.load("sd2").totals("denoise", 256, 256).flops / 3.12e14


def test_a_machine_never_draws_more_than_its_chip() -> None:
    for name, gpu in catalog.gpus().items():
        drawn = watts(name)
        assert len(drawn) == len(SHARES)
        assert max(drawn) <= (gpu.chip_watts or gpu.board_power_watts) - gpu.idle_watts + 1e-9
        assert min(drawn) > 0


def test_a_chip_on_a_smaller_board_takes_less_energy_and_stays_below_its_limit() -> None:
    """The A100's chip at 400, 300 and 250 W: as under enforced limits, energy falls by less than the watts do."""
    boards = [catalog.gpu(name) for name in ("a100", "a100-pcie", "a100-pcie-40gb")]
    rows = Table.from_rows([BASE | {"gpu": board.name, "steps": 28} for board in boards])
    forecast = WorkLaw().fit(shipped_rows()).forecast(rows)
    joules, seconds = forecast.joules, forecast.seconds
    assert joules[0] > joules[1] > joules[2] > 0.66 * joules[0]
    assert (joules / seconds <= [board.board_power_watts - board.idle_watts for board in boards]).all()


def test_many_gpus_and_sizes_at_once_are_what_they_are_one_by_one() -> None:
    sizes = {"resolution": 256}, {"resolution": 1024, "batch": 4, "prompts": 6}, {"resolution": 768, "cfg": True}
    rows = [
        one(**{"model": model, "gpu": gpu, "precision": precision, **size})
        for model in ("sd2", "qwen")
        for gpu in ("a100", "b200", "rtx4090")
        for precision in ("fp16", "fp32")
        for size in sizes
    ]
    together = demand(Table.from_rows([row.configuration(0) for row in rows]))
    for place, row in enumerate(rows):
        alone = demand(row)
        slots = alone.times.shape[1]
        assert together.seconds[place, :slots] == pytest.approx(alone.seconds[0], rel=1e-12)
        assert together.dispatches[place, :slots].tolist() == alone.dispatches[0].tolist()
        assert together.times[place, slots:].tolist() == [0.0] * (together.times.shape[1] - slots)


@pytest.mark.parametrize("name", ["matmul", "fp32", "convolution"])
def test_waves_that_are_looked_up_are_those_of_the_best_tile_and_split(name: str) -> None:
    """Beside plain loops over tiles and splits, from less than one wave to hundreds, on chips of several sizes."""
    rng = np.random.default_rng(2)
    m, n, k = (np.exp(rng.uniform(0.0, np.log(top), (300, 4))).round() for top in (3e5, 2e4, 2e4))
    b, processors = np.ones((300, 1)), rng.choice([48.0, 108.0, 132.0, 304.0], (300, 1))
    best = np.full(m.shape, np.inf)
    for rows, columns, share in roofline._PLAIN_TILES if name == "fp32" else roofline._TENSOR_TILES:
        for split in roofline._SPLITS[name]:
            tiles = np.ceil(m / rows) * np.ceil(n / columns) * split
            cost = np.ceil(tiles / processors) * rows * columns / (split * share) * (1.05 if split > 1 else 1.0)
            best = np.minimum(best, np.where((split == 1) | (k >= 512 * split), cost, np.inf))
    found = waste(name, b, m, n, k, processors)
    assert found == pytest.approx(best * processors / (m * n), rel=1e-12)
