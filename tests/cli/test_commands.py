"""The commands: what they write, and what they say, with exit code 2 and nothing half-written, of bad input."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from augmentor import LatentAugment, ShardDataset, cli, load_autoencoder
from augmentor._internal.random import seeded
from augmentor._internal.weights import load_network, save_network
from augmentor.cli import main
from augmentor.gan import generators
from augmentor.gan.networks import get_generator
from augmentor.shards import generate_shards

VAE = "vae(latent_dim=4, width=8)"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_warnings(monkeypatch):
    """`main` takes over how warnings are shown."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


@pytest.fixture
def call(capfd, tmp_path, monkeypatch):
    """Runs a command in this process, in an empty folder; code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # what these tests say holds for the CPU

    def run(*arguments: object) -> SimpleNamespace:
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


def process(*arguments: object, folder: Path) -> SimpleNamespace:
    """Runs ``python -m augmentor`` as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "augmentor", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_refused(result: SimpleNamespace, *said: str) -> None:
    """Exit code 2, and one line that says why."""
    assert result.code == 2, result
    assert result.err.startswith("error: "), result.err
    assert result.err.count("\n") == 1, result.err
    assert result.err.endswith("\n")
    assert "Traceback" not in result.err + result.out
    for text in said:
        assert text in result.err, result.err


# Data


def write_pictures(folder: Path, counts: dict[str, int], size: int = 16, mode: str = "RGB") -> Path:
    chance = np.random.default_rng(0)
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (size, size, 3) if mode == "RGB" else (size, size)
            pixels = np.clip(chance.normal(80 + 80 * number, 30, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """All the data arguments and weights that the tests use, made once; nobody writes into it."""
    root = tmp_path_factory.mktemp("data")
    write_pictures(root / "rgb", {"cats": 12, "dogs": 12})
    write_pictures(root / "one-bad", {"cats": 12, "dogs": 12})
    broken = root / "one-bad" / "dogs" / "5.png"
    broken.write_bytes(broken.read_bytes()[:60])
    write_pictures(root / "alone", {"many": 24, "only": 1}, size=8, mode="L")
    write_pictures(root / "sizes", {"cats": 2}, size=16)
    write_pictures(root / "sizes2", {"dogs": 2}, size=18)
    shutil.move(root / "sizes2" / "dogs", root / "sizes" / "dogs")
    (root / "empty").mkdir()
    (root / "no-images" / "cats").mkdir(parents=True)
    (root / "no-images" / "cats" / "notes.txt").write_text("no picture")
    (root / "nonsense").mkdir()
    (root / "nonsense" / "thesis.tex").write_text("years of work")

    grey = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(root / "grey.npz", images=grey, labels=labels)
    np.savez(root / "float.npz", images=grey / 255, labels=labels)
    np.savez(root / "range.npz", images=grey.astype(np.float32), labels=labels)
    spoilt = (grey / 255).astype(np.float32)
    spoilt[30, 2, 2] = np.nan
    np.savez(root / "nan.npz", images=spoilt, labels=labels)
    np.savez(root / "names.npz", pictures=grey)
    (root / "damaged.npz").write_bytes((root / "grey.npz").read_bytes()[:-2000])
    write_mnist(root / "torchvision")

    with seeded(0, "weights"):
        save_network(get_generator("dcgan")((1, 8, 8), 8, 8, num_classes=2), root / "generator.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        main(["train-autoencoder", str(root / "rgb"), "--autoencoder", VAE, "--epochs", "1", "--batch-size", "8",
              "--out", str(root / "model"), "--device", "cpu"])  # fmt: skip
    whole = (root / "model" / "model.safetensors").read_bytes()
    (root / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (root / "tampered.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (root / "text.safetensors").write_text("this is no weights file, although it is long enough for one")
    save_file({"weight": torch.zeros(3)}, root / "foreign.safetensors")

    augment = LatentAugment("digits", p=1.0)
    from augmentor.data import load_source

    generate_shards(load_source(root / "grey.npz"), augment, root / "shards", num_samples=30, shard_size=16)
    return root


def write_mnist(root: Path) -> None:
    """MNIST's own files, of 30 and 20 images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 20)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[:, :4] = 0
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


# train-autoencoder


@pytest.mark.parametrize(
    ("source", "shape"),
    [("digits", (1, 8, 8)), ("rgb", (3, 16, 16)), ("float.npz", (1, 8, 8)), ("mnist", (1, 28, 28)),
     ("shards", (1, 8, 8))],
)  # fmt: skip
def test_train_autoencoder_on_every_kind_of_data(call, data, source, shape):
    argument = {"digits": "digits", "mnist": f"mnist:{data / 'torchvision'}"}.get(source, data / source)
    result = call("train-autoencoder", argument, "--autoencoder", VAE, "--epochs", 1, "--out", "run")
    assert result.code == 0, result.err
    model = load_autoencoder("run/model.safetensors")
    assert model.image_shape == shape
    assert (model.latent_dim, model.width) == (4, 8)
    assert model.stats.fitted
    assert sorted(content(Path("run"))) == [
        "checkpoint.pt", "history.jsonl", "model.safetensors", "reconstructions.png", "run.json",
    ]  # fmt: skip
    for line in (f"images {shape}", "device", "cpu", "seed", "run/model.safetensors", "nats a pixel", "latent_dim=4"):
        assert line in result.out


def test_train_autoencoder_takes_a_family_that_fits_any_size_and_a_geometry(call, data):
    result = call(
        "train-autoencoder", data / "sizes", "--size", 12, "--autoencoder", "spatial_kl(width=8)", "--epochs", 2,
        "--geometric", "--batch-size", 2, "--val-fraction", 0.25, "--out", "run", "--seed", 3,
    )  # fmt: skip
    assert result.code == 0, result.err
    settings = json.loads(Path("run/run.json").read_text())
    assert (settings["images"], settings["epochs"], settings["seed"]) == (4, 2, 3)
    assert "RandomAffine" in settings["transform"]
    assert load_autoencoder("run/model.safetensors").channels == 3


def test_training_called_again_goes_on_and_other_settings_are_refused(call, data):
    arguments = ("train-autoencoder", data / "rgb", "--autoencoder", VAE, "--epochs", 1, "--out", "run")
    assert call(*arguments).code == 0
    before = content(Path("run"))
    assert call(*arguments).code == 0
    assert content(Path("run")) == before
    assert_refused(call(*arguments, "--lr", 0.1), "lr: 0.002 there, 0.1 asked", "name another folder")
    assert content(Path("run")) == before


# preview


def test_preview_draws_the_policies_that_were_asked_for(call):
    result = call(
        "preview", "digits", "--policy", "gaussian(std=1.0)", "--policy", "smote", "--images", 4, "--out", "a/b.png"
    )
    assert result.code == 0, result.err
    assert "gaussian(std=1.0), smote" in result.out
    with Image.open("a/b.png") as picture:
        assert (picture.format, picture.height < 400) == ("PNG", True)
    assert call("preview", "digits", "--policy", "gaussian(std=1.0)", "--policy", "smote", "--images", 4).code == 0
    assert Path("preview.png").read_bytes() == Path("a/b.png").read_bytes()


def test_preview_with_weights_of_ones_own(call, data):
    result = call("preview", data / "rgb", "--autoencoder", data / "model/model.safetensors", "--policy", "slerp")
    assert result.code == 0, result.err
    assert Path("preview.png").stat().st_size > 1000


# generate


def test_generate_and_go_on(call):
    arguments = ("generate", "digits", "--num-samples", 40, "--shard-size", 16, "--out", "shards", "--seed", 5)
    result = call(*arguments)
    assert result.code == 0, result.err
    shards = ShardDataset("shards")
    assert (len(shards), shards.image_shape, shards.manifest.seed) == (40, (1, 8, 8), 5)
    assert list(shards.classes) == [str(i) for i in range(10)]
    before = content(Path("shards"))
    assert sorted(before) == ["manifest.json", *(f"shard-0000{i}.h5" for i in range(3))]

    Path("shards/shard-00001.h5").unlink()
    assert call(*arguments).code == 0
    assert content(Path("shards")) == before
    assert_refused(call(*arguments, "--no-resume"), "holds shards already")
    assert_refused(call(*arguments, "--seed", 6), "seed: 5 there, 6 asked")
    assert content(Path("shards")) == before


def test_generate_from_colour_with_partners_and_gzip(call, data):
    result = call(
        "generate", data / "rgb", "--autoencoder", data / "model/model.safetensors", "--policy", "smote(k=2)",
        "--compression", "gzip", "--out", "shards",
    )  # fmt: skip
    assert result.code == 0, result.err
    shards = ShardDataset("shards")
    assert (len(shards), shards.image_shape) == (24, (3, 16, 16))
    assert list(shards.classes) == ["cats", "dogs"]
    assert shards.manifest.compression == "gzip"


def test_generate_in_lower_precision_with_latents_that_are_kept(call, data):
    arguments = ("generate", data / "rgb", "--autoencoder", data / "model/model.safetensors", "--num-samples", 20)
    result = call(*arguments, "--cache", "kept.safetensors", "--precision", "fp32+channels_last", "--out", "shards")
    assert result.code == 0, result.err
    assert Path("kept.safetensors").exists()
    manifest = json.loads(Path("shards/manifest.json").read_text())
    assert manifest["precision"] == "fp32+channels_last"
    assert manifest["fitted_sha256"] is not None
    before = Path("kept.safetensors").stat().st_mtime_ns
    assert call(*arguments, "--cache", "kept.safetensors", "--out", "again").code == 0
    assert Path("kept.safetensors").stat().st_mtime_ns == before


def test_generate_latents_with_a_gate_and_weights_of_ones_own(call, data):
    result = call(
        "generate", data / "rgb", "--autoencoder", data / "model/model.safetensors", "--store", "latents",
        "--gate", 0.95, "--out", "shards",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "the gate let no version of" in result.out


# train-gan and evaluate


@pytest.mark.parametrize("augment", ["none", "real", "both"])
def test_train_gan_then_evaluate(call, data, augment):
    result = call(
        "train-gan", data / "grey.npz", "--augment", augment, "--steps", 2, "--batch-size", 8, "--round-steps", 1,
        "--network", "dcgan(width=8)", "--out", "gan",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert sorted(name for name in content(Path("gan")) if not name.startswith("tensorboard/")) == [
        "best.safetensors", "checkpoint.pt", "generator.safetensors", "history.jsonl", "run.json",
        "samples/step-0000001.png", "samples/step-0000002.png",
    ]  # fmt: skip
    settings = json.loads(Path("gan/run.json").read_text())
    assert settings["augment"] == augment
    assert settings.get("policy") == (None if augment == "none" else "gaussian(std=0.5)")
    generator = load_network("gan/generator.safetensors", generators)
    assert (generator.image_shape, generator.num_classes, generator.width) == ((1, 8, 8), 2, 8)
    assert "fid" in result.out

    result = call("evaluate", "gan/generator.safetensors", data / "grey.npz", "--num-samples", 20, "--out", "m.json")
    assert result.code == 0, result.err
    metrics = json.loads(Path("m.json").read_text())
    assert metrics["counts"] == {"generated": 20, "real": 20, "floor": 10}
    assert {"fid", "kid", "precision", "recall"} <= metrics.keys() & metrics["floor"].keys()
    assert f"{metrics['fid']:.4g}" in result.out


def test_train_gan_on_colour_without_an_autoencoder_or_classes(call, data):
    result = call(
        "train-gan", data / "rgb", "--unconditional", "--epochs", 1, "--batch-size", 8, "--loss", "wgan_gp(weight=5)",
        "--network", "resnet(width=8)", "--r1-gamma", 0, "--out", "gan",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "nothing is measured" in result.out
    (line,) = Path("gan/history.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 3  # 24 images in batches of 8
    assert "fid" not in json.loads(line)
    assert load_network("gan/generator.safetensors", generators).num_classes == 0


def test_train_gan_with_everything_said(call, data):
    result = call(
        "train-gan", data / "grey.npz", "--method", "gan(r1_every=2)", "--augment", "both+diffaugment(cutout=0)", "--p",
        "adaptive(images=100, every=1)", "--best-by", "kid", "--stop-on", "collapse", "--stop-on", "saturation",
        "--steps", 2, "--batch-size", 8, "--network", "dcgan(width=8, latent_dim=4)", "--out", "gan",
    )  # fmt: skip
    assert result.code == 0, result.err
    settings = json.loads(Path("gan/run.json").read_text())
    assert (settings["method"], settings["r1_every"], settings["best_by"]) == ("gan", 2, "kid")
    assert settings["augment"] == "both+diffaugment(colour=True, translation=0.125, cutout=0)"
    assert settings["augment 0"]["p"] == "adaptive(target=0.6, images=100, every=1, start=0.0)"
    assert "p" in json.loads(Path("gan/history.jsonl").read_text().splitlines()[-1])
    assert load_network("gan/generator.safetensors", generators).latent_dim == 4


def test_evaluate_shards_against_real_images(call, data):
    shards = data / "shards"
    result = call(
        "evaluate", shards, data / "grey.npz", "--features", "digits", "--out", "one.json", "--seed", 2**63 - 1
    )
    assert result.code == 0, result.err
    assert (
        call(
            "evaluate", shards, data / "grey.npz", "--features", "digits", "--out", "two.json", "--seed", 2**63 - 1
        ).code
        == 0
    )
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    assert json.loads(Path("one.json").read_text())["counts"]["generated"] == 30


def test_evaluate_looks_for_copies_among_all_real_images(call, data):
    result = call("evaluate", "digits", "digits", "--copies", "--num-samples", 25, "--out", "run/one.json")
    assert result.code == 0, result.err
    copies = json.loads(Path("run/one.json").read_text())["copies"]
    assert (copies["images"], copies["exact"]) == (25, 25)  # each is found, wherever it stands among the 1,797
    assert (copies["floor"]["images"], copies["floor"]["exact"]) == (1797, 0)
    assert "25 of 25 are the same as a real image" in result.out
    assert "wrote run/copies.html" in result.out
    page = Path("run/copies.html").read_text()
    assert "Copies: digits against digits" in page
    model = data / "model/model.safetensors"
    assert call("evaluate", data / "rgb", data / "rgb", "--features", model, "--copies").code == 0
    assert Path("copies.html").read_text().count("data:image/png") == 2
    assert json.loads(Path("metrics.json").read_text())["copies"]["exact"] == 24


def test_evaluate_without_copies_draws_nothing(call, data):
    assert call("evaluate", data / "shards", data / "grey.npz", "--features", "digits").code == 0
    assert "copies" not in json.loads(Path("metrics.json").read_text())
    assert not Path("copies.html").exists()


def test_evaluate_leaves_bad_files_out_on_both_sides(call, data):
    model = data / "model/model.safetensors"
    assert_refused(call("evaluate", data / "one-bad", data / "rgb", "--features", model), "5.png", "--skip-bad")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = call("evaluate", data / "one-bad", data / "one-bad", "--features", model, "--skip-bad")
    assert result.code == 0, result.err
    assert result.err.count("warning: left out 1 unreadable images") + len(said) == 2
    assert json.loads(Path("metrics.json").read_text())["counts"]["generated"] == 23


# info


def test_info_tells_what_there_is(call, data):
    result = call("info", "--out", "info.json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert json.loads(Path("info.json").read_text()) == found
    assert found["versions"]["torch"] == torch.__version__
    assert {"digits", "mnist"} <= found["pretrained"].keys()
    assert found["policies"]["smote"].startswith("smote(k=")
    assert "wgan_gp" in found["gan losses"]
    assert {"both", "diffaugment", "ada"} <= set(found["gan augmentations"])
    assert "gan" in found["training methods"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("digits", {"licence": "CC BY 4.0 (data), Apache-2.0 (weights)"}),
        ("model/model.safetensors", {"family": "autoencoder", "name": "vae"}),
        ("generator.safetensors", {"family": "generator", "name": "dcgan"}),
        ("shards", {"num_samples": 30, "policy": "gaussian(std=0.5)"}),
        ("model", {"what": "autoencoder", "images": 24}),
    ],
)
def test_info_describes_a_target(call, data, target, expected):
    result = call("info", target if target == "digits" else data / target)
    assert result.code == 0, result.err
    assert expected.items() <= json.loads(result.out).items()


# As a program


def test_as_a_program(tmp_path, data):
    result = process("train-autoencoder", data / "grey.npz", "--autoencoder", VAE, "--epochs", 1, folder=tmp_path)
    assert result.code == 0, result.err
    assert load_autoencoder(tmp_path / "runs/autoencoder/model.safetensors").image_shape == (1, 8, 8)


def test_bad_input_as_a_program(tmp_path, data):
    result = process("generate", data / "nan.npz", "--out", "shards", folder=tmp_path)
    assert_refused(result, "got NaN")
    assert content(tmp_path) == {}


def test_skip_bad_as_a_program(tmp_path, data):
    result = process(
        "train-autoencoder", data / "one-bad", "--skip-bad", "--autoencoder", VAE, "--epochs", 1, "--out", "run",
        folder=tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1
    assert "left out 1 unreadable images" in lines[0]
    assert "5.png" in lines[0]
    assert json.loads((tmp_path / "run/run.json").read_text())["images"] == 23


_HEAVY = """
import sys
from augmentor.cli import main
for arguments in ([], *([name, "--help"] for name in NAMES)):
    main(arguments)
main(["--help"])
main(["--version"])
try:
    main(["demoo"])
except SystemExit as end:
    assert end.code == 2
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "torchvision", "albumentations", "numpy",
      "matplotlib", "sklearn", "h5py", "PIL", "tqdm", "torch_fidelity", "safetensors"}), file=sys.stderr)
"""


@pytest.mark.parametrize(("rank", "speaks"), [("", True), ("0", True), ("1", False)])
def test_one_process_of_several_speaks(rank, speaks):
    done = subprocess.run(
        [sys.executable, "-m", "augmentor", "--help"], env={**os.environ, "RANK": rank}, capture_output=True, text=True,
        cwd=ROOT, check=True,
    )  # fmt: skip
    assert ("Usage:" in done.stdout) == speaks


@pytest.mark.parametrize("command", [("preview", "digits"), ("evaluate", "digits", "digits"), ("info",)])
def test_a_folder_in_the_place_of_a_file_is_refused_before_any_work(call, tmp_path, command):
    assert_refused(call(*command, "--out", "."), "is a directory")
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy():
    code = _HEAVY.replace("NAMES", repr(list(cli._COMMANDS)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    *said, imported = done.stderr.splitlines()
    assert imported == ""
    assert said == [line for line in said if line.startswith("error: unknown command 'demoo'; did you mean 'demo'?")]
    for name in cli._COMMANDS:
        assert f"Usage: augmentor {name} " in done.stdout
    assert done.stdout.count("Usage: augmentor [OPTIONS] COMMAND") == 2
    assert "0.1.0" in done.stdout


def test_the_overview_fits_the_commands(call):
    result = call("--help")
    assert result.code == 0
    for name, (_, line) in cli._COMMANDS.items():
        assert f" {name} {line}" in " ".join(result.out.split())
    for name in ("train-autoencoder", "generate", "train-gan", "evaluate", "demo", "preview", "tune", "info"):
        for option in ("--seed", "--device", "--out"):
            assert option in call(name, "--help").out


def test_interrupting_is_no_failure(call, data, monkeypatch):
    from augmentor.training import AutoencoderTrainer

    def stop(self, dataset):
        raise KeyboardInterrupt

    monkeypatch.setattr(AutoencoderTrainer, "fit", stop)
    result = call("train-autoencoder", data / "grey.npz")
    assert result.code == 130
    assert result.err.strip() == ""


# Bad input: each is one line and exit code 2, and leaves nothing behind


def bad(*arguments: str, said: list[str], name: str):
    return pytest.param(arguments, said, id=name)


MODEL = "{data}/model/model.safetensors"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # images that do not fit the autoencoder
        bad("generate", "{data}/rgb", "--autoencoder", "digits", said=["1-channel", "got 3 channels"], name="channels"),
        bad("generate", "{data}/rgb", "--size", "8", "--autoencoder", "digits", said=["v2.Grayscale"], name="colour"),
        bad("generate", "mnist:{data}/torchvision", "--autoencoder", "digits", said=["v2.Resize((8, 8))"], name="size"),
        bad("preview", "{data}/rgb", "--autoencoder", "digits", said=["1-channel"], name="preview channels"),
        bad("preview", "digits", "--autoencoder", MODEL, said=["v2.Resize("], name="preview colour"),
        bad("train-gan", "{data}/rgb", "--autoencoder", "digits", said=["1-channel"], name="gan features"),
        bad("train-gan", "{data}/rgb", "--autoencoder", "digits", "--augment", "both", said=["1-channel"],
            name="gan both"),
        bad("train-gan", "digits", "--autoencoder", MODEL, "--augment", "real", said=["v2.Resize("], name="gan real"),
        bad("evaluate", "{data}/shards", "{data}/rgb", "--features", "digits", said=["1-channel"], name="features"),
        bad("evaluate", "{data}/generator.safetensors", "{data}/rgb", "--features", MODEL, said=["v2.Resize("],
            name="generator for other images"),
        bad("train-autoencoder", "{data}/rgb", "--autoencoder", "vae(image_shape=[1, 8, 8])", said=["got"],
            name="asked for another shape"),
        # values
        *(bad(command, "{data}/range.npz", said=["[0, 1]", "values from 0 to 255"], name=f"range {command}")
          for command in ("train-autoencoder", "generate", "train-gan", "preview")),
        *(bad(command, "{data}/nan.npz", said=["[0, 1]", "got NaN"], name=f"nan {command}")
          for command in ("train-autoencoder", "generate", "train-gan", "preview")),
        bad("evaluate", "{data}/nan.npz", "digits", said=["got NaN"], name="nan evaluate"),
        # data that is not there or cannot be read
        *(bad(command, "{data}/empty", said=["no images in", "one folder of image files a class"],
              name=f"empty {command}") for command in ("train-autoencoder", "generate", "train-gan", "preview")),
        bad("preview", "{data}/no-images", said=["no images in"], name="no images"),
        bad("preview", "{data}/rgb/cats", said=["put the files of each class into a folder"], name="one level deep"),
        bad("preview", "{data}/nowhere", said=["found no data at", "expected 'digits'"], name="nowhere"),
        bad("preview", "a" * 5000, said=["a" * 50], name="a name too long"),
        bad("preview", "mnist:{data}/nowhere", said=["no mnist under", "download=True"], name="no mnist"),
        bad("preview", "cifar10:{data}/nowhere", said=["no cifar10 under"], name="no cifar10"),
        bad("preview", "{data}/names.npz", said=["expected arrays 'images' and 'labels'"], name="names in an npz"),
        bad("preview", "{data}/damaged.npz", said=["cannot read"], name="damaged npz"),
        bad("preview", "{data}/sizes", said=["2 sizes", "--size"], name="two sizes"),
        *(bad(command, "{data}/one-bad", said=["dogs/5.png", "--skip-bad"], name=f"one bad {command}")
          for command in ("train-autoencoder", "generate", "train-gan", "preview")),
        bad("evaluate", "digits", "{data}/one-bad", said=["dogs/5.png"], name="one bad evaluate"),
        bad("evaluate", "{data}/shards", "digits", "--num-samples", "19", said=["20"], name="too few to evaluate"),
        # a class of one image with smote
        bad("generate", "{data}/alone", "--policy", "smote", said=["class 1 has 1", "use gaussian"], name="smote"),
        bad("preview", "{data}/alone", "--policy", "smote(k=3)", said=["class 1 has 1"], name="smote preview"),
        *(bad("train-gan", "{data}/alone", "--policy", "smote", "--augment", augment, said=["class 1 has 1"],
              name=f"smote {augment}") for augment in ("real", "both")),
        # names and arguments
        bad("trian-gan", "digits", said=["unknown command 'trian-gan'; did you mean 'train-gan'"], name="command"),
        bad("preview", "digits", "--polcy", "slerp", said=["--polcy", "--policy"], name="option"),
        bad("preview", said=["DATA"], name="no data argument"),
        bad("preview", "digits", "more", said=["more"], name="one argument too many"),
        bad("generate", "digits", "--policy", "gausian", said=["did you mean 'gaussian'"], name="policy"),
        bad("generate", "digits", "--policy", "gaussian(sdt=1)", said=["'sdt'; did you mean 'std'"], name="argument"),
        bad("generate", "digits", "--policy", "gaussian(std='x')", said=["'x'"], name="kind of argument"),
        bad("generate", "digits", "--policy", "gaussian(std=-1)", said=["std", "-1"], name="value of argument"),
        bad("generate", "digits", "--policy", "gaussian(", said=["cannot read policy"], name="syntax"),
        bad("generate", "digits", "--policy", "__import__('os')", said=["unknown policy"], name="code"),
        bad("generate", "digits", "--autoencoder", "digit", said=["did you mean 'digits'"], name="pretrained name"),
        bad("train-autoencoder", "digits", "--autoencoder", "vea", said=["did you mean 'vae'"], name="family"),
        bad("train-autoencoder", "digits", "--autoencoder", "dense(hidden=5)", said=["dense"], name="no list"),
        bad("train-autoencoder", "digits", "--autoencoder", "vae(latent_dim=0)", said=["latent_dim"], name="no width"),
        bad("train-gan", "digits", "--network", "dcgam", said=["did you mean 'dcgan'"], name="network"),
        bad("train-gan", "digits", "--loss", "hing", said=["did you mean 'hinge'"], name="loss"),
        bad("train-gan", "digits", "--augment", "bot", said=["did you mean 'both'"], name="augment"),
        bad("train-gan", "digits", "--augment", "both", "--policy", "interpolate(same_class=False)",
            said=["mixes classes"], name="mixing"),
        bad("train-gan", "digits", "--method", "gam", said=["did you mean 'gan'"], name="method"),
        bad("train-gan", "digits", "--augment", "ada+both", said=["put both first"], name="order"),
        bad("train-gan", "digits", "--loss", "wgan_gp", "--augment", "ada", said=["give p a number"], name="adaptive"),
        bad("train-gan", "digits", "--stop-on", "boredom", said=["'collapse', 'saturation'"], name="stop on"),
        bad("train-gan", "digits", "--p", "adaptve", "--augment", "both", said=["mean 'adaptive'"], name="p text"),
        bad("train-gan", "digits", "--policy", "gausian", said=["did you mean 'gaussian'"], name="unused policy"),
        bad("preview", "digits", "--size", "16", said=["size=16", "leave it out"], name="size of digits"),
        bad("preview", "digits", "--split", "test", said=["split='test'"], name="split of digits"),
        bad("train-autoencoder", "digits", "--autoencoder", "vae(image_shape=(1,8))", said=["(1, 8)"], name="flat"),
        bad("train-gan", "digits", "--augment", "both", "--p", "2", said=["between 0 and 1"], name="p"),
        bad("train-gan", "digits", "--discriminator-steps", "0", said=["discriminator_steps"], name="no turns"),
        bad("train-gan", "digits", "--augment", "real", "--ratio", "nan", said=["ratio"], name="ratio"),
        bad("train-gan", "digits", "--steps", "0", said=["steps"], name="steps"),
        bad("train-gan", "digits", "--epochs", "0", said=["epochs"], name="no epochs"),
        bad("train-gan", "digits", "--epochs", "1", "--batch-size", "0", said=["batch-size"], name="no batch"),
        bad("train-autoencoder", "digits", "--epochs", "0", said=["epochs"], name="epochs"),
        bad("train-autoencoder", "digits", "--batch-size", "0", said=["batch_size"], name="batch size"),
        bad("train-autoencoder", "digits", "--lr", "nan", said=["lr is positive"], name="rate"),
        bad("train-autoencoder", "digits", "--epochs", "many", said=["'many'"], name="no number"),
        bad("train-autoencoder", "{data}/rgb", "--size", "4", said=["8<=x<=128"], name="too small"),
        bad("generate", "digits", "--num-samples", "0", said=["num_samples", "at least 1"], name="no samples"),
        bad("generate", "digits", "--shard-size", "0", said=["shard_size"], name="no shard size"),
        bad("generate", "digits", "--seed", "-1", said=["seed"], name="seed"),
        bad("generate", "digits", "--compression", "zip", said=["gzip"], name="compression"),
        bad("demo", "--gan-steps", "0", said=["gan-steps"], name="demo steps"),
        bad("demo", "--epochs", "0", said=["epochs"], name="demo epochs"),
        # weights
        *(bad("generate", "{data}/rgb", "--autoencoder", "{data}/" + f"{file}.safetensors", said=[file, *said],
              name=f"{file} weights")
          for file, *said in (("truncated", "damaged"), ("tampered", "checksum", "fetch it again"),
                              ("text", "not a weights file"), ("foreign", "not a weights file"),
                              ("generator", "'generator' weights; expected"), ("absent", "does not exist"))),
        *(bad(*arguments, said=["tampered.safetensors", "checksum"], name=f"tampered {arguments[0]}")
          for arguments in (("preview", "{data}/rgb", "--autoencoder", "{data}/tampered.safetensors"),
                            ("train-gan", "{data}/rgb", "--autoencoder", "{data}/tampered.safetensors"),
                            ("evaluate", "digits", "{data}/rgb", "--features", "{data}/tampered.safetensors"))),
        bad("generate", "{data}/rgb", "--autoencoder", "two\nlines.safetensors", said=["two lines.safetensors"],
            name="a name of two lines"),
        bad("evaluate", MODEL, "digits", said=["expected generator weights"], name="no generator"),
        bad("info", "{data}/text.safetensors", said=["not a weights file"], name="info text"),
        bad("info", "{data}/nonsense", said=["neither a pretrained name"], name="info nonsense"),
        bad("info", "nowhere", said=["neither a pretrained name", "digits"], name="info nowhere"),
        # devices
        *(bad(*arguments, "--device", device, said=[f"device '{device}'", "expected cpu, cuda or auto"],
              name=f"{device} {arguments[0]}")
          for device in ("tpu", "cuda:99", "meta")
          for arguments in (("train-autoencoder", "digits"), ("generate", "digits"), ("preview", "digits"),
                            ("train-gan", "digits"), ("evaluate", "digits", "digits"), ("demo",), ("info",))),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(call, data, tmp_path, arguments, said):
    out = () if arguments[0] == "info" else ("--out", "result")
    assert_refused(call(*(argument.replace("{data}", str(data)) for argument in arguments), *out), *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("train-autoencoder", "{data}/grey.npz"),
        ("generate", "{data}/grey.npz"),
        ("train-gan", "{data}/grey.npz"),
        ("demo",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_with_other_things_stays_as_it_is(call, data, tmp_path, arguments):
    arguments = [argument.replace("{data}", str(data)) for argument in arguments]
    shutil.copytree(data / "nonsense", tmp_path / "taken")
    assert_refused(call(*arguments, "--out", "taken"), "taken holds other things (thesis.tex)", "name another")
    assert content(tmp_path) == {"taken/thesis.tex": b"years of work"}
    assert_refused(call(*arguments, "--out", "taken/thesis.tex"), "is a file", "name another")
    assert content(tmp_path) == {"taken/thesis.tex": b"years of work"}


@pytest.mark.parametrize("arguments", [("preview", "digits", "--policy", "slerp"), ("info",)], ids=lambda a: a[0])
def test_a_file_that_cannot_be_written(call, tmp_path, arguments):
    (tmp_path / "folder").mkdir()
    assert_refused(call(*arguments, "--out", "folder"), "'folder' is a directory")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    assert list((tmp_path / "folder").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    assert_refused(call(*arguments, "--out", "file/inside"), "cannot write file/inside")
    assert (tmp_path / "file").read_text() == "mine"


def test_skip_bad_leaves_one_file_out(call, data):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = call(
            "generate", data / "one-bad", "--skip-bad", "--autoencoder", data / "model/model.safetensors", "--out", "s"
        )
    assert result.code == 0, result.err
    messages = result.err + " ".join(str(each.message) for each in said)
    assert "left out 1 unreadable images" in messages
    assert "dogs/5.png" in messages
    assert len(ShardDataset("s")) == 23


def test_a_loss_that_is_not_finite_is_one_line(call, data):
    result = call("train-gan", data / "grey.npz", "--lr", "1e20", "--steps", 20, "--batch-size", 8, "--out", "gan")
    assert_refused(result, "last good checkpoint is kept", "lower rate")
    assert not Path("gan/generator.safetensors").exists()


def test_pictures_of_the_grid_can_be_opened(call, data):
    assert call("train-autoencoder", data / "rgb", "--autoencoder", VAE, "--epochs", 1, "--out", "run").code == 0
    picture = Image.open(io.BytesIO(Path("run/reconstructions.png").read_bytes()))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
