"""What people write for a GPU or a model is the entry that is meant, or is refused with the one that is near."""

from __future__ import annotations

import pytest

from farm import catalog
from farm.catalog import SHIPPED
from farm.domain import RequestError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a100", "a100"),
        ("A100", "a100"),
        (" a100 ", "a100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("nvidia a100-sxm4-80gb", "a100"),
        ("1 x NVIDIA A100-SXM4-80GB", "a100"),  # as CodeCarbon's emissions.csv has it
        ("A100-SXM4-80GB", "a100"),
        ("A100 80GB", "a100"),
        ("NVIDIA RTX A4000", "a4000"),
        ("RTX_A6000", "a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000-ada"),
        ("RTX 6000 Ada", "rtx6000-ada"),
        ("GeForce RTX 4090", "rtx4090"),
        ("RTX 4090 24GB", "rtx4090"),
        ("H100-80GB-HBM3", "h100"),
        ("NVIDIA L40S", "l40s"),
        ("CPU", "cpu"),
    ],
)
def test_a_gpu_is_found_by_the_names_that_people_write(text, name):
    assert catalog.find_gpu(text).name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("flux", "flux"),
        ("FLUX", "flux"),
        ("FLUX.1-dev", "flux"),
        ("black-forest-labs/FLUX.1-dev", "flux"),
        ("https://huggingface.co/black-forest-labs/FLUX.1-dev", "flux"),
        ("models--black-forest-labs--FLUX.1-dev", "flux"),
        ("Stable Diffusion 2", "sd2"),
        ("SD 2.1", "sd21"),
        ("stable-diffusion-3.5-large", "sd35"),
        ("SD3.5-Large", "sd35"),
        ("Stable Diffusion 3.5 Medium", "sd35-medium"),
        ("runwayml/stable-diffusion-v1-5", "sd15"),
        ("SDXL", "sdxl"),
        ("Qwen/Qwen-Image", "qwen"),
        ("PixArt_Sigma", "pixart-sigma"),
    ],
)
def test_a_model_is_found_by_the_names_that_people_write(text, name):
    assert catalog.find_model(text).name == name


@pytest.mark.parametrize("name", sorted(catalog.gpus()))
def test_every_gpu_is_found_by_its_own_names(name):
    entry = catalog.gpu(name)
    written = (name, name.upper(), entry.title, *(p for p in entry.nvml_names if "*" not in p))
    assert {catalog.find_gpu(text).name for text in written} == {name}


@pytest.mark.parametrize("name", sorted(catalog.models()))
def test_every_model_is_found_by_its_own_names(name):
    entry = catalog.model(name)
    written = (name, name.upper(), entry.title, entry.repository, entry.repository.split("/")[-1], *entry.aliases)
    assert {catalog.find_model(text).name for text in written} == {name}


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("a1000", "a100"),
        ("NVIDIA RTX A4000 Laptop GPU", "a4000"),
        ("NVIDIA GeForce RTX 4090 D", "rtx4090"),
        ("NVIDIA A100X", "a100"),
        ("2 x NVIDIA A100-SXM4-80GB", "a100"),
    ],
)
def test_a_gpu_that_is_another_is_refused_with_the_near_one(text, near):
    with pytest.raises(RequestError, match=f"gpu: {text}: did you mean {near}") as refused:
        catalog.find_gpu(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "near"), [("fluxx", "flux"), ("FLUX.1-schnell", "flux"), ("stabilityai/stable-diffusion-2-base", "sd2")]
)
def test_a_model_that_is_another_is_refused_with_the_near_one(text, near):
    with pytest.raises(RequestError, match=f"model: {text}: did you mean {near}"):
        catalog.find_model(text)


@pytest.mark.parametrize("text", ["", "  ", "?", "1 x "])
def test_no_name_at_all_is_refused(text):
    with pytest.raises(RequestError, match="known: "):
        catalog.find_gpu(text)
    with pytest.raises(RequestError, match="known: "):
        catalog.find_model(text)


def test_a_name_that_two_entries_share_is_refused_with_both(home):
    folder = home / "catalog" / "gpus"
    folder.mkdir(parents=True)
    (folder / "ours.toml").write_text((SHIPPED / "gpus" / "a100.toml").read_text())
    catalog.refresh()
    try:
        assert (catalog.find_gpu("A100").name, catalog.find_gpu("Ours").name) == ("a100", "ours")
        with pytest.raises(RequestError, match="which of a100, ours"):
            catalog.find_gpu("NVIDIA A100-SXM4-80GB")
    finally:
        catalog.refresh()


@pytest.mark.parametrize(
    ("text", "name"), [("FLUX.1-dev", "flux"), ("flux-nano", "flux-nano"), ("Flux-nano", "flux-nano"), ("SD2", "sd2")]
)
def test_a_build_is_found_by_the_names_that_people_write(text, name):
    assert catalog.find_build(text) == name


@pytest.mark.parametrize("text", ["kandinsky-2.2", "flux2", "sd36"])
def test_another_version_of_a_model_is_no_slip(text: str) -> None:
    assert catalog.model_name(text) == text


@pytest.mark.parametrize("text", ["a101", "a1000", "rtx4091"])
def test_one_digit_off_is_a_slip_for_a_gpu(text: str) -> None:
    with pytest.raises(RequestError, match=f"gpu: {text}: did you mean"):
        catalog.gpu_name(text)
