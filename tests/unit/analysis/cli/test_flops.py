"""farm flops: the agreed document, speed without torch, folders, and requests that cannot be met."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.work import paper
from farm.cli import run
from tests.unit.analysis.work import exact
from tests.unit.analysis.work.pipelines import folder

PARTS = {"text", "denoise_step", "decode"}

COUNTING = "farm: counting the work of"  # how our own line begins, on a busy machine


def document(capsys, *arguments):
    assert run(["flops", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_model_of_the_paper(capsys):
    found = document(capsys, "flux", "--resolution", 1024)
    assert {"model": "flux", "width": 1024, "height": 1024, "cfg": False}.items() <= found.items()
    assert all(set(found[key]) == PARTS for key in ("paper", "exact", "moved", "kernels"))
    assert found["paper"]["denoise_step"] == pytest.approx(paper.denoise_flops("flux", 1024, 1024) / 1e9)
    assert found["exact"]["denoise_step"] == pytest.approx(exact.denoise_flops("flux", 1024, 1024) / 1e9)
    assert found["moved"]["denoise_step"] == pytest.approx(262.79, rel=1e-3)
    assert found["kernels"]["denoise_step"] == 3795


@pytest.mark.parametrize(("model", "passes"), [("sd2", 2), ("qwen", 2)])
def test_cfg_counts_both_passes_and_leaves_the_paper_at_one(capsys, model, passes):
    off, on = (document(capsys, model, "--resolution", "512x768", *flag) for flag in ((), ("--cfg",)))
    assert on["exact"]["denoise_step"] == pytest.approx(passes * off["exact"]["denoise_step"])
    assert on["exact"]["text"] == pytest.approx(passes * off["exact"]["text"])
    assert on["exact"]["decode"] == off["exact"]["decode"]
    assert on["paper"] == off["paper"]
    assert (off["width"], off["height"], off["cfg"], on["cfg"]) == (512, 768, 0, 1)


def test_a_model_that_the_paper_does_not_have(capsys):
    found = document(capsys, "sdxl", "--resolution", 1024)
    assert found["paper"] is None
    assert found["exact"]["denoise_step"] == pytest.approx(6761.2, rel=1e-3)


def test_sdxl_with_guidance_encodes_one_prompt_and_zeros_stand_for_the_other(capsys):
    off, on = (document(capsys, "sdxl", "--resolution", 1024, *flag) for flag in ((), ("--cfg",)))
    assert on["exact"]["text"] == off["exact"]["text"] == pytest.approx(111.2, abs=0.05)
    assert on["exact"]["denoise_step"] == pytest.approx(2 * off["exact"]["denoise_step"])


@pytest.mark.parametrize(("said", "passes"), [(None, 1), (True, 1), (False, 2)])
def test_the_folder_says_whether_an_empty_negative_prompt_is_encoded(capsys, tmp_path, said, passes):
    """The refiner's does: force_zeros_for_empty_prompt is false."""
    path = folder(tmp_path / "pipeline", "sdxl")
    _index(path, lambda index: index.update({} if said is None else {"force_zeros_for_empty_prompt": said}))
    off, on = (document(capsys, path, "--resolution", 128, *flag) for flag in ((), ("--cfg",)))
    assert on["exact"]["text"] == passes * off["exact"]["text"]


def test_the_folder_of_a_consistency_model_says_that_guidance_is_no_second_pass(capsys, tmp_path):
    path = folder(tmp_path / "pipeline")
    assert document(capsys, path, "--resolution", 128, "--cfg")["cfg"] == 1
    _change(path, "unet", time_cond_proj_dim=16)
    assert run(["flops", str(path), "--resolution", "128", "--cfg"]) == 2
    assert "no classifier-free guidance" in capsys.readouterr().err


PIXART = {
    "_class_name": "Transformer2DModel", "activation_fn": "gelu-approximate", "attention_bias": True,
    "attention_head_dim": 72, "caption_channels": 4096, "cross_attention_dim": 1152, "in_channels": 4,
    "norm_elementwise_affine": False, "norm_eps": 1e-6, "norm_type": "ada_norm_single", "num_attention_heads": 16,
    "num_embeds_ada_norm": 1000, "num_layers": 28, "out_channels": 8, "patch_size": 2, "sample_size": 128,
}  # fmt: skip


def test_a_class_that_diffusers_replaces_by_its_norm_is_counted_as_the_one_it_builds(capsys, tmp_path):
    """PixArt-Alpha at 1024 pixels as it is published: 6509.5 GFLOPs a step, by diffusers itself."""
    path = folder(tmp_path / "pipeline", "pixart-sigma", size="full")
    _config(path, "transformer", json.dumps(PIXART))
    _change(path, "text_encoder", num_layers=1)  # of no interest here
    _index(path, lambda i: i.update(_class_name="PixArtAlphaPipeline", transformer=["diffusers", "Transformer2DModel"]))
    assert document(capsys, path, "--resolution", 1024)["exact"]["denoise_step"] == pytest.approx(6509.5, abs=0.05)
    _change(path, "transformer", norm_type="ada_norm_zero")
    assert run(["flops", str(path), "--resolution", "1024"]) == 2
    assert "DiTTransformer2DModel: PixArtTransformer2DModel in a PixArtAlphaPipeline" in capsys.readouterr().err
    _change(path, "transformer", norm_type=["ada_norm_zero"])
    assert run(["flops", str(path), "--resolution", "1024"]) == 2
    assert "Transformer2DModel: PixArtTransformer2DModel in a PixArtAlphaPipeline" in capsys.readouterr().err


CHROMA = {
    "patch_size": 1, "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": [4, 4, 8], "approximator_num_channels": 8,
    "approximator_hidden_dim": 16, "approximator_layers": 1,
}  # fmt: skip


def test_chroma_under_the_name_of_flux_counts_as_under_its_own(capsys, tmp_path):
    """Folders of its first versions say FluxPipeline, with T5 in either place."""
    counts = []
    for cls, place in (("ChromaPipeline", "text_encoder"), ("FluxPipeline", "text_encoder_2")):
        path = folder(tmp_path / cls, "flux")
        _config(path, "transformer", json.dumps(CHROMA))
        if place == "text_encoder":
            (path / "text_encoder_2" / "config.json").replace(path / "text_encoder" / "config.json")
        encoders = {"text_encoder": [None, None], "text_encoder_2": [None, None]}
        encoders[place] = ["transformers", "T5EncoderModel"]
        named = {"_class_name": cls, "transformer": ["diffusers", "ChromaTransformer2DModel"], **encoders}
        _index(path, lambda i, named=named: i.update(named))
        counts.append(document(capsys, path, "--resolution", 128, "--cfg")["exact"])
    assert counts[0] == counts[1]
    assert all(value > 0 for value in counts[0].values())


def test_a_folder_that_makes_images_makes_one_frame(capsys, tmp_path):
    assert run(["flops", str(folder(tmp_path / "pipeline")), "--resolution", "128", "--frames", "2"]) == 2
    assert "frames: 2: 1: pipeline makes images" in capsys.readouterr().err


def test_a_video_is_counted_by_its_frames(capsys, tmp_path):
    """Wan's denoiser sees every fourth frame and the first; nothing but its attention grows faster than they do."""
    path = tmp_path / "wan"
    parts = {
        "transformer": ("diffusers", "WanTransformer3DModel", {
            "patch_size": [1, 2, 2], "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16,
            "out_channels": 16, "text_dim": 32, "freq_dim": 16, "ffn_dim": 32, "num_layers": 1,
        }),
        "vae": ("diffusers", "AutoencoderKLWan", {
            "base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1,
            "temperal_downsample": [False, True, True],
        }),
        "text_encoder": ("transformers", "UMT5EncoderModel", {
            "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 1, "num_heads": 4,
        }),
    }  # fmt: skip
    index = {"_class_name": "WanPipeline"}
    for name, (library, cls, config) in parts.items():
        index[name] = [library, cls]
        (path / name).mkdir(parents=True)
        _config(path, name, json.dumps(config))
    (path / "model_index.json").write_text(json.dumps(index))
    found = {n: document(capsys, path, "--resolution", 128, "--frames", n) for n in (1, 5, 8, 9)}
    assert [found[n]["frames"] for n in found] == [1, 5, 8, 9]
    one, two, again, three = (found[n]["exact"] for n in found)
    assert again == two
    assert one["text"] == two["text"] == three["text"]
    tokens, layers, width = (128 // 16) ** 2, 1, 24
    grown = three["denoise_step"] - 2 * two["denoise_step"] + one["denoise_step"]
    assert grown * 1e9 == pytest.approx(2 * layers * 4 * tokens**2 * width)  # 9 - 2 * 4 + 1 squares of a frame
    assert one["decode"] < two["decode"] < three["decode"]


def test_a_catalog_name_needs_no_torch():
    code = (
        "import sys; from farm.cli import run; code = run(['flops', 'qwen', '--resolution', '512', '--json']);"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_folder_counts_as_the_catalog_entry_that_it_was_written_from(capsys, tmp_path):
    path = folder(tmp_path / "pipeline", "sd2", size="full")
    found = document(capsys, path, "--resolution", "520x264", "--cfg")
    known = document(capsys, "sd2", "--resolution", "520x264", "--cfg")
    assert found["paper"] is None
    assert found["exact"] == pytest.approx(known["exact"])
    assert found["moved"] == pytest.approx(known["moved"], rel=1e-2)
    assert found["kernels"] == known["kernels"]


def test_a_folder_is_traced_once_and_again_when_a_configuration_changes(capsys, tmp_path, monkeypatch):
    path = folder(tmp_path / "pipeline")
    first = document(capsys, path, "--resolution", 128)
    cache = tmp_path / "home" / "cache" / "work"
    (kept,) = cache.iterdir()
    kept.write_text("{ torn")
    assert document(capsys, path, "--resolution", 128) == first  # made again
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "analysis.work.trace.phases", None)  # importing it would fail
        assert document(capsys, path, "--resolution", 128) == first
    config = json.loads((path / "unet" / "config.json").read_text())
    (path / "unet" / "config.json").write_text(json.dumps({**config, "layers_per_block": 2}))
    assert document(capsys, path, "--resolution", 128)["exact"]["denoise_step"] > first["exact"]["denoise_step"]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("flix", "--resolution", "512"), ("flix", "did you mean flux")),
        (("/no/such/folder", "--resolution", "512"), ("/no/such/folder", "folder in diffusers layout")),
        (("flux", "--resolution", "520"), ("width", "520", "multiples of 16")),
        (("flux", "--resolution", "512x700"), ("height", "700")),
        (("sd35", "--resolution", "4096"), ("4096", "at most 3072")),
        (("flux", "--resolution", "0"), ("resolution",)),
        (("flux", "--resolution", "-512"), ("resolution",)),
        (("flux", "--resolution", "1e99"), ("resolution", "1e99")),
        (("flux", "--resolution", "99999999999"), ("resolution",)),
        (("flux", "--resolution", "512x512x512"), ("resolution",)),
        (("flux", "--resolution", "5_12"), ("resolution", "5_12")),
        (("flux", "--resolution", "５１２"), ("resolution", "512, or WIDTHxHEIGHT")),
        (("flux", "--resolution", "512x"), ("resolution", "512x")),
        (("", "--resolution", "512"), ("model: ''", "catalog name or a folder")),
        (("~nosuchuser", "--resolution", "512"), ("model: ~nosuchuser", "known: ")),
        (("a" * 400, "--resolution", "512"), ("model: aaaa", "known: ")),
        (("flux", "--resolution", "half"), ("resolution", "half")),
        (("flux",), ("--resolution",)),
        (("flux", "--resolution", "512", "--frames", "5"), ("frames: 5", "flux makes images")),
        (("flux", "--resolution", "512", "--frames", "0"), ("--frames",)),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(capsys, arguments, words):
    assert run(["flops", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert all(word in shown.err for word in words), shown.err


def test_a_width_of_text_for_each_block_counts_as_one_for_all(capsys, tmp_path):
    """diffusers takes a list where it takes a number."""
    path = folder(tmp_path / "pipeline")
    first = document(capsys, path, "--resolution", 128)
    file = path / "unet" / "config.json"
    config = json.loads(file.read_text())
    config["cross_attention_dim"] = [config["cross_attention_dim"]] * len(config["block_out_channels"])
    file.write_text(json.dumps(config))
    assert document(capsys, path, "--resolution", 128)["exact"] == first["exact"]


def test_a_mark_of_the_encoding_before_the_configuration_is_no_part_of_it(capsys, tmp_path):
    path = folder(tmp_path / "pipeline")
    first = document(capsys, path, "--resolution", 128)
    for file in path.rglob("*.json"):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    assert document(capsys, path, "--resolution", 128) == first


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("unet", ["os", "system"]),
        ("unet", ["diffusers", "StableDiffusionPipeline"]),
        ("vae", ["diffusers", "NoVae"]),
        ("text_encoder", ["transformers", "NoModel"]),
    ],
)
def test_names_are_checked_before_torch_is_imported(tmp_path, part, entry):
    path = folder(tmp_path / "pipeline")
    _index(path, lambda index: index.update({part: entry}))
    code = (
        f"import sys; from farm.cli import run; code = run(['flops', {str(path)!r}, '--resolution', '128']);"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert entry[1] in done.stderr or entry[0] in done.stderr


def test_a_library_that_warns_is_not_heard(tmp_path):
    """transformers speaks of keys and options that it does not know."""
    path = folder(tmp_path / "pipeline")
    _change(path, "text_encoder", bos_token_id=-5, torch_dtype="float8", pad_token_id=10**6)
    _change(path, "unet", no_such_key=1)
    done = subprocess.run(
        [sys.executable, "-m", "farm", "flops", str(path), "--resolution", "128"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 2)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(COUNTING)]
    assert len(lines) == (1 if done.returncode else 0), done.stderr


@pytest.mark.parametrize("value", ["wide", [8], -8, 1.5])
def test_a_position_table_that_is_no_number_is_one_line_and_exit_2(capsys, tmp_path, value):
    path = folder(tmp_path / "pipeline", "sd35")
    _change(path, "transformer", pos_embed_max_size=value)
    assert run(["flops", str(path), "--resolution", "128"]) == 2
    assert "transformer config pos_embed_max_size" in capsys.readouterr().err


@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/home"])
def test_a_home_that_cannot_be_written_costs_the_cache_alone(capsys, caplog, tmp_path, monkeypatch, home):
    monkeypatch.setenv("FARM_HOME", home)
    assert run(["flops", str(folder(tmp_path / "pipeline")), "--resolution", "128", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exact"]["denoise_step"] > 0
    assert f"not kept for the next time: FARM_HOME: {home}" in caplog.text


def test_a_full_disk_costs_the_cache_alone_and_leaves_no_half_of_a_file(capsys, caplog, tmp_path, home, monkeypatch):
    def full(path, text, *rest, **options):
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    path = folder(tmp_path / "pipeline")
    monkeypatch.setattr(Path, "write_text", full)
    assert run(["flops", str(path), "--resolution", "128", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exact"]["denoise_step"] > 0
    assert "not kept for the next time" in caplog.text
    assert "No space left on device" in caplog.text
    assert list((home / "cache" / "work").iterdir()) == []


def test_what_takes_long_is_said_in_one_line(tmp_path):
    path = folder(tmp_path / "pipeline")
    code = "import analysis.cli.counting as c; c.LONG_SECONDS = 0.0; from farm.cli import main; main()"
    command = [sys.executable, "-c", code, "flops", str(path), "--resolution", "128", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["width"] == 128
    assert done.stderr.startswith(COUNTING)
    assert done.stderr.count("\n") == 1
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout == done.stdout


def _index(path, change):
    file = path / "model_index.json"
    index = json.loads(file.read_text())
    change(index)
    file.write_text(json.dumps(index))


def _config(path, part, text):
    (path / part / "config.json").write_text(text)


def _change(path, part, **values):
    config = json.loads((path / part / "config.json").read_text())
    _config(path, part, json.dumps(config | values))


SPOILED = {
    "no index": (lambda p: (p / "model_index.json").unlink(), "model_index.json"),
    "index torn": (lambda p: (p / "model_index.json").write_text('{"_class_name": '), "readable JSON"),
    "index a list": (lambda p: (p / "model_index.json").write_text("[]"), "JSON object"),
    "index in another encoding": (lambda p: (p / "model_index.json").write_bytes(b"\xff\xfe\x00"), "readable JSON"),
    "index nested deeply": (lambda p: (p / "model_index.json").write_text("[" * 100_000), "readable JSON"),
    "no class": (lambda p: _index(p, lambda i: i.pop("_class_name")), "_class_name"),
    "unknown pipeline": (lambda p: _index(p, lambda i: i.update(_class_name="AudioPipeline")), "AudioPipeline"),
    "no denoiser": (lambda p: _index(p, lambda i: i.pop("unet")), "denoiser"),
    "component is a number": (lambda p: _index(p, lambda i: i.update(unet=7)), "[library, class]"),
    "foreign library": (lambda p: _index(p, lambda i: i.update(unet=["os", "system"])), "diffusers or transformers"),
    "unknown class": (lambda p: _index(p, lambda i: i.update(unet=["diffusers", "NoUNet"])), "NoUNet"),
    "a scheduler": (lambda p: _index(p, lambda i: i.update(unet=["diffusers", "DDIMScheduler"])), "DDIMScheduler"),
    "no config": (lambda p: (p / "vae" / "config.json").unlink(), "vae/config.json"),
    "config torn": (lambda p: _config(p, "unet", "{"), "readable JSON"),
    "config of numbers": (lambda p: _config(p, "unet", '{"block_out_channels": [0, -3]}'), "unet"),
    "config absurd": (lambda p: _config(p, "unet", '{"layers_per_block": 1000000000}'), "layers_per_block"),
    "widths of text that differ": (lambda p: _change(p, "unet", cross_attention_dim=[32, 64]), "unet"),
    "no width of text": (lambda p: _change(p, "unet", cross_attention_dim=[]), "unet"),
    "channels in words": (lambda p: _change(p, "unet", in_channels="four"), "unet"),
    "channels a list": (lambda p: _change(p, "vae", latent_channels=[4]), "vae"),
    "pooled text in words": (
        lambda p: _change(
            p,
            "unet",
            addition_embed_type="text_time",
            projection_class_embeddings_input_dim=80,
            addition_time_embed_dim="x",
        ),
        "unet",
    ),
    "more layers than any model": (
        lambda p: _change(p, "text_encoder", num_hidden_layers=999),
        "num_hidden_layers: 999",
    ),
    "more channels than any model": (
        lambda p: _change(p, "unet", block_out_channels=[64, 10**6]),
        "block_out_channels",
    ),
    "more blocks than any model": (
        lambda p: _change(p, "unet", layers_per_block=32, transformer_layers_per_block=32),
        "more than 10000 tensors",
    ),
    "another pipeline's denoiser": (
        lambda p: _index(p, lambda i: i.update(_class_name="CogView4Pipeline")),
        "CogView4Transformer2DModel",
    ),
    "a text encoder that is none": (
        lambda p: _index(p, lambda i: i.update(text_encoder=["diffusers", "StableDiffusionPipeline"])),
        "text_encoder",
    ),
    "an unknown text encoder": (
        lambda p: _index(p, lambda i: i.update(text_encoder=["transformers", "NoModel"])),
        "transformers NoModel",
    ),
    "a pipeline for a denoiser": (
        lambda p: _index(p, lambda i: i.update(unet=["diffusers", "StableDiffusionPipeline"])),
        "StableDiffusionPipeline",
    ),
    "config huge": (lambda p: _config(p, "unet", '{"cross_attention_dim": 1e30}'), "unet"),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_folder_that_is_no_pipeline_is_one_line_and_exit_2(capsys, tmp_path, spoil):
    path = folder(tmp_path / "pipeline")
    damage, word = SPOILED[spoil]
    damage(path)
    assert run(["flops", str(path), "--resolution", "128"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len([line for line in shown.err.strip().splitlines() if not line.startswith(COUNTING)]) == 1
    assert word.lower() in shown.err.lower()
    assert not (tmp_path / "home" / "cache").exists()
