"""The shipped catalog is complete and consistent; a lab's own file is one more entry."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from farm import catalog
from farm.catalog import SHIPPED
from farm.domain import Configuration, RequestError

PAPER_MODELS = {"sd2", "sd35", "flux", "qwen"}
GPUS = {"a100", "a4000", "a6000", "rtx6000-ada", "h100", "h200", "b200", "l40s", "rtx4090", "cpu"} | {
    "a100-40gb", "a100-pcie", "a100-pcie-40gb", "h100-pcie", "h100-nvl", "h200-nvl", "a10", "l4", "t4", "v100",
    "rtx3090", "rtx5090", "rtxpro6000", "gh200", "b300", "mi300x",
}  # fmt: skip


def test_everything_of_the_paper_is_there():
    assert set(catalog.models()) >= PAPER_MODELS
    assert set(catalog.gpus()) >= GPUS


@pytest.mark.parametrize("name", sorted(GPUS))
def test_a_gpu_is_plausible_and_states_its_sources(name):
    gpu = catalog.gpu(name)
    assert {"memory_bytes", "bandwidth", "board_power_watts", "peak"} <= set(gpu.sources)
    assert 0 < gpu.idle_watts < gpu.board_power_watts
    if gpu.chip_watts is not None:
        assert gpu.chip_watts > gpu.board_power_watts
        assert "chip_watts" in gpu.sources
    if gpu.context_idle_watts is not None:
        assert gpu.idle_watts < gpu.context_idle_watts < gpu.board_power_watts
        assert "context_idle_watts" in gpu.sources
    if gpu.is_processor:
        assert (gpu.architecture, gpu.nvml_names, gpu.power_reading, gpu.sensor_duty) == (None, (), None, None)
    else:
        assert {"multiprocessors", "boost_clock"} <= set(gpu.sources)
        memory = re.search(r"(\d+) GB", gpu.title)
        assert memory is not None
        assert gpu.memory_bytes / (int(memory[1]) * 2**30) == pytest.approx(1, abs=0.07)
        assert gpu.peak["fp32"] <= gpu.peak["tf32"] <= gpu.peak["fp16"]
        assert gpu.power_reading in ("instant", "average_1s")
        assert 0 < gpu.sensor_duty <= 1


# Dense operations of a multiprocessor and clock by the whitepapers: plain fp32, and tensor cores in 16 bits with fp32
# accumulation, which GeForce boards have cut to half.
OPERATIONS = {
    (128, 1024): {"v100", "t4"},
    (128, 2048): {"a100", "a100-40gb", "a100-pcie", "a100-pcie-40gb"},
    (256, 512): {"rtx3090", "rtx4090", "rtx5090"},
    (256, 1024): {"a10", "a4000", "a6000", "l4", "l40s", "rtx6000-ada", "rtxpro6000"},
    (256, 2048): {"mi300x"},
    (256, 4096): {"h100", "h100-pcie", "h100-nvl", "h200", "h200-nvl", "gh200"},
    (256, 8192): {"b200", "b300"},
}


@pytest.mark.parametrize(
    ("plain", "tensor", "name"), [(*key, name) for key, names in OPERATIONS.items() for name in sorted(names)]
)
def test_rates_of_a_gpu_are_those_of_its_multiprocessors_at_its_clock(plain, tensor, name):
    gpu = catalog.gpu(name)
    assert gpu.boost_clock is not None
    cycles = gpu.multiprocessors * gpu.boost_clock
    assert gpu.peak["fp32"] / cycles == pytest.approx(plain, rel=0.03)
    # A rate with sparsity, or one with fp16 accumulation on a GeForce board, is twice that. Hopper and Blackwell state
    # tensor cores at a clock of their own, at most an eighth below the largest.
    assert 0.86 < gpu.peak["fp16"] / (cycles * tensor) < 1.01
    on_tensor_cores = gpu.architecture not in ("Volta", "Turing")
    assert gpu.peak["bf16"] == (gpu.peak["fp16"] if on_tensor_cores else gpu.peak["fp32"])
    assert gpu.peak["tf32"] / gpu.peak["bf16"] == pytest.approx(0.5 if on_tensor_cores else 1, rel=0.015)


def test_the_rates_of_every_gpu_are_checked():
    assert set().union(*OPERATIONS.values()) == {gpu.name for gpu in catalog.gpus().values() if not gpu.is_processor}


@pytest.mark.parametrize(
    ("name", "whole", "clock"),  # of the board that lets the same chip draw what it draws at that clock
    [
        ("a100-pcie", "a100", 1.41e9),
        ("a100-pcie-40gb", "a100", 1.41e9),
        ("a10", "a6000", 1.8e9),
        ("h100-pcie", "h100", 1.83e9),
        ("h100-nvl", "h100", 1.83e9),
        ("h200-nvl", "h200", 1.83e9),
    ],
)
def test_what_a_chip_draws_at_its_full_clock_follows_from_the_board_that_allows_it(name, whole, clock):
    smaller, board = catalog.gpu(name), catalog.gpu(whole)
    size = smaller.multiprocessors / board.multiprocessors
    watts = board.board_power_watts * size * (smaller.boost_clock / clock) ** 3.3
    assert smaller.chip_watts == pytest.approx(watts, abs=2.5)  # stated to 5 W


# Names as NVML gives them (nvidia-smi -L of such boards), and the one type that each is of.
NVML_NAMES = {
    "NVIDIA A100-SXM4-80GB": "a100",
    "A100-SXM-80GB": "a100",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100 80GB PCIe": "a100-pcie",
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40gb",
    "A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA RTX A4000": "a4000",
    "NVIDIA RTX A6000": "a6000",
    "NVIDIA RTX 6000 Ada Generation": "rtx6000-ada",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H100 NVL": "h100-nvl",
    "NVIDIA H200": "h200",
    "NVIDIA H200 NVL": "h200-nvl",
    "NVIDIA B200": "b200",
    "NVIDIA B300 SXM6 AC": "b300",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA GH200 120GB": "gh200",
    "NVIDIA L40S": "l40s",
    "NVIDIA L4": "l4",
    "NVIDIA A10": "a10",
    "Tesla T4": "t4",
    "Tesla V100-SXM2-16GB": "v100",
    "Tesla V100-SXM2-32GB": "v100",
    "NVIDIA GeForce RTX 3090": "rtx3090",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "NVIDIA GeForce RTX 5090": "rtx5090",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "rtxpro6000",
}
# Boards that differ from the one whose name they resemble.
OTHERS = [
    "NVIDIA A100X",
    "NVIDIA A100-SXM-64GB",
    "GRID A100-10C",
    "GRID A100D-40C",
    "NVIDIA RTX A1000",
    "NVIDIA A10G",
    "NVIDIA A10M",
    "NVIDIA A16",
    "NVIDIA A2",
    "NVIDIA A30",
    "NVIDIA A40",
    "NVIDIA A800-SXM4-80GB",
    "NVIDIA RTX A4000 Laptop GPU",
    "NVIDIA RTX A4000H",
    "NVIDIA RTX 4000 Ada Generation",
    "NVIDIA RTX A6000-48Q",
    "Quadro RTX 4000",
    "Quadro RTX 6000",
    "NVIDIA RTX 6000 Ada Generation Laptop GPU",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition",
    "NVIDIA L40",
    "NVIDIA L40G",
    "NVIDIA L20",
    "NVIDIA H100X",
    "NVIDIA H100 64GB HBM2",
    "NVIDIA H800",
    "NVIDIA H20",
    "NVIDIA GH200 144G HBM3e",
    "NVIDIA GB200",
    "NVIDIA GB300",
    "Tesla T40 24GB",
    "Tesla V100-PCIE-16GB",
    "Tesla V100-SXM3-32GB",
    "NVIDIA GeForce RTX 3090 Ti",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 5090 D",
    "NVIDIA GeForce RTX 5090 Laptop GPU",
    "",
]


@pytest.mark.parametrize(("nvml_name", "expected"), NVML_NAMES.items())
def test_a_device_is_of_one_type(nvml_name, expected):
    assert [g.name for g in catalog.gpus().values() if g.matches(nvml_name)] == [expected]


@pytest.mark.parametrize("nvml_name", NVML_NAMES)
def test_a_slice_of_a_board_is_not_the_board(nvml_name):
    assert [g.name for g in catalog.gpus().values() if g.matches(f"{nvml_name} MIG 1g.23gb")] == []


@pytest.mark.parametrize("nvml_name", OTHERS)
def test_a_board_with_a_similar_name_is_of_no_type(nvml_name):
    assert [g.name for g in catalog.gpus().values() if g.matches(nvml_name)] == []


def test_every_nvidia_type_is_known_by_a_name():
    known = {g.name for g in catalog.gpus().values() if not g.is_processor and g.architecture != "CDNA 3"}
    assert known == set(NVML_NAMES.values())


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match="did you mean flux"):
        catalog.model("fluxx")


def test_a_lab_adds_a_gpu_with_one_file(home):
    folder = home / "catalog" / "gpus"
    folder.mkdir(parents=True)
    text = (SHIPPED / "gpus" / "a100.toml").read_text().replace('queue = "a100"', 'queue = "ours"')
    (folder / "ours.toml").write_text(text)
    catalog.refresh()
    try:
        assert catalog.gpu("ours").queue == "ours"
        (folder / "broken.toml").write_text("title = ")
        catalog.refresh()
        with pytest.raises(RequestError, match=r"broken\.toml"):
            catalog.gpus()
    finally:
        catalog.refresh()


POINT = Configuration(model="sd2", gpu="a100", width=512, height=512, steps=1, precision="fp16", cfg=False, prompts=1)


def lab_file(home, kind, name, change=lambda text: text, source=None):
    """A file of a lab's own, made from a shipped one."""
    folder = home / "catalog" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(change((SHIPPED / kind / f"{source or name}.toml").read_text()))


@pytest.mark.parametrize(
    ("kind", "name", "change", "concerns"),
    [
        ("models", "mine", lambda text: text, ()),
        ("gpus", "ours", lambda text: text, ()),
        ("models", "sd2", lambda text: text.replace('title = "', 'title = "My '), ()),
        ("models", "sd2", lambda text: text.replace("sample_size = 8", "sample_size = 16"), ("nano",)),
        ("models", "sd2", lambda text: text.replace("layers_per_block = 2", "layers_per_block = 3"), ("full",)),
        ("gpus", "a100", lambda text: text.replace("bandwidth = 2.039e12", "bandwidth = 1.5e12"), ("full", "nano")),
        ("gpus", "a100", lambda text: text.replace('"NVIDIA A100-*", ', ""), ()),
    ],
)
def test_a_job_depends_on_what_it_uses_of_its_two_entries_and_on_nothing_else(home, kind, name, change, concerns):
    points = {size: replace(POINT, size=size) for size in ("full", "nano")}
    before = {size: catalog.digest(point) for size, point in points.items()}
    lab_file(home, kind, name, change, source={"mine": "sd2", "ours": "a100"}.get(name))
    assert catalog.reload()
    assert tuple(size for size, point in points.items() if catalog.digest(point) != before[size]) == concerns


def test_changed_files_are_read_again_and_a_broken_one_leaves_the_catalog_as_it_was(home):
    assert "mine" not in catalog.models()
    assert not catalog.reload()
    lab_file(home, "models", "mine", source="sd2")
    assert catalog.reload()
    assert not catalog.reload()
    assert "mine" in catalog.models()
    (home / "catalog" / "models" / "mine.toml").write_text("title = ")
    for _ in range(2):
        with pytest.raises(RequestError, match=r"mine\.toml"):
            catalog.reload()
    assert catalog.model("mine").multiple == 8
    (home / "catalog" / "models" / "mine.toml").unlink()
    assert catalog.reload()
    assert "mine" not in catalog.models()


@pytest.mark.parametrize("farm_home", [None, "", "~/.local/share/joulefarm"])
def test_a_lab_without_farm_home_has_its_catalog_in_the_default_one(tmp_path, monkeypatch, farm_home):
    folder = tmp_path / ".local" / "share" / "joulefarm" / "catalog" / "gpus"
    folder.mkdir(parents=True)
    (folder / "ours.toml").write_text((SHIPPED / "gpus" / "a100.toml").read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FARM_HOME")
    if farm_home is not None:
        monkeypatch.setenv("FARM_HOME", farm_home)
    assert catalog.gpu("ours").name == "ours"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('title = "NVIDIA A100 SXM4 80 GB"\n', "", ("gpus/mine.toml: title: missing: a text",)),
        ("bandwidth = 2.039e12", 'bandwidth = "fast"', ("mine.toml: bandwidth: fast: a number above 0",)),
        ("bandwidth = 2.039e12", "bandwidth = nan", ("bandwidth: nan",)),
        ("boost_clock = 1.41e9", "boost_clock = 0", ("boost_clock: 0: a number above 0",)),
        ("multiprocessors = 108", "multiprocessors = 0", ("multiprocessors: 0: a whole number above 0",)),
        ("tf32 = 1.56e14", "", ("peak.tf32: missing: a number",)),
        ("matmul = 0.869", "matmul = -1.0", ("reach.matmul: -1.0",)),
        ("[peak]", "[peaks]", ("peak: missing: a table: [peak]",)),
        ('power_reading = "instant"', 'power_reading = "slow"', ("power_reading: slow: one of instant, average_1s",)),
        ("bandwidth = 2.039e12", "bandwidth = 0", ("bandwidth: 0: a number above 0",)),
        ("board_power_watts = 400.0", "board_power_watts = 10", ("idle_watts: ", "at most 10")),
        ("sensor_duty = 0.25", "sensor_duty = 7", ("sensor_duty: 7: a number above 0, at most 1",)),
        ('queue = "a100"', 'queue = "a100 ~* +@all"', ("queue: a100 ~* +@all: a name",)),
        ('queue = "a100"', 'queue = "*"', ("queue: *: a name",)),
        ('queue = "a100"', 'kind = "tpu"', ("kind: tpu: one of gpu, processor",)),
        ('architecture = "Ampere"', 'architecture = "none"', ('that of a GPU, or kind = "processor"',)),
        ("[reach]", "[reach", ("mine.toml", "readable TOML")),
        ("bandwidth = 2.039e12", "bandwidth = 4e11", ("bandwidth: 400000000000", "goes with peak.fp16")),
        ("bandwidth = 2.039e12", "bandwidth = 2039", ("bandwidth: 2039: a number above 0, in bytes per second",)),
        ("memory_bytes = 8.59e10", "memory_bytes = 80", ("memory_bytes: 80: ", "in bytes from 1e+09")),
        ('architecture = "Ampere"', 'architecture = "Ampre"', ("architecture: Ampre: ", "Ampere")),
        ('architecture = "Ampere"\n', "", ("architecture: missing",)),
        ("sensor_duty = 0.25", "sensor_duti = 0.25", ("sensor_duti: 0.25: no such key; did you mean sensor_duty?",)),
        ("tf32 = 1.56e14", "tf32 = 1.56e14\nfp8 = 6e14", ("peak.fp8: ", "known: fp16, bf16, tf32, fp32")),
        ('bandwidth = "NVIDIA A100', 'bandwith = "NVIDIA A100', ("sources.bandwidth: missing: where",)),
        ("multiprocessors = 108", "multiprocessors = true", ("multiprocessors: True: a whole number",)),
    ],
)
def test_a_file_of_a_lab_with_a_mistake_is_named_with_its_key(tmp_path, monkeypatch, old, new, words):
    text = (SHIPPED / "gpus" / "a100.toml").read_text()
    assert old in text
    (tmp_path / "catalog" / "gpus").mkdir(parents=True)
    (tmp_path / "catalog" / "gpus" / "mine.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setenv("FARM_HOME", str(tmp_path))
    with pytest.raises(RequestError) as refused:
        catalog.gpus()
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('cfg = "batch"', 'cfg = "twice"', "cfg: twice: one of batch, two_pass, none"),
        ("gated = false", 'gated = "no"', "gated: no: true or false"),
        ('phase = "denoise"', "", "components.unet.phase: missing: one of text, denoise, decode"),
        ("[components.unet.config]", "[components.unet.other]", "components.unet.config: missing: a table"),
        ("denoiser = 865910724", "", "parameters.denoiser: missing"),
        ('family = "sd"', 'family = "memory"', "family: memory: sd, as "),
        ("multiple = 8", "multipel = 8", "multiple: missing"),
        ("gated = false", "gatet = false", "gatet: False: no such key; did you mean gated?"),
        ('class = "AutoencoderKL"', 'klass = "AutoencoderKL"', "components.vae.class: missing: a text"),
        (
            'class = "AutoencoderKL"',
            'class = "AutoencoderKL"\nfaze = 1',
            "components.vae.faze: 1: no such key; known: library, class, phase, config, nano",
        ),
        ('library = "diffusers"', 'library = "tensorflow"', "components.unet.library: tensorflow: one of diffusers"),
    ],
)
def test_a_model_of_a_lab_with_a_mistake_is_named_with_its_key(tmp_path, monkeypatch, old, new, words):
    text = (SHIPPED / "models" / "sd2.toml").read_text()
    assert old in text
    (tmp_path / "catalog" / "models").mkdir(parents=True)
    (tmp_path / "catalog" / "models" / "mine.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setenv("FARM_HOME", str(tmp_path))
    with pytest.raises(RequestError, match="mine.toml: " + words.replace("[", r"\[")):
        catalog.models()
