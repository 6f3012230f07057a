"""The commands: what they print, and what they write. Bad input is in test_bad_input.py."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image

from augmentor import ShardDataset, cli, load_autoencoder
from augmentor.data import load_source
from augmentor.gan import load_generator, starting_autoencoder
from augmentor.quality import frechet_joint_distance, load_features

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "train-autoencoder DATA/rgb --autoencoder 'vae(latent_dim=4, width=8)' --steps 1 --out run"
COMMANDS = cli.app.list_commands(click.Context(cli.app))


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


@pytest.mark.parametrize(
    ("source", "shape"), [("DATA/rgb", (3, 16, 16)), ("DATA/float.npz", (1, 8, 8)), ("DATA/shards", (1, 8, 8))]
)
def test_train_autoencoder_on_every_kind_of_data(succeeds, files, source, shape):
    said = succeeds(TRAIN.replace("DATA/rgb", source))
    model = load_autoencoder("run/model.safetensors")
    assert (model.image_shape, model.latent_dim, model.width) == (shape, 4, 8)
    assert model.stats.fitted
    names = ("checkpoint.pt", "history.jsonl", "model.safetensors", "reconstructions.png", "run.json")
    assert list(files()) == [f"run/{name}" for name in names]
    assert Image.open(io.BytesIO(files()["run/reconstructions.png"])).mode == "RGB"
    for text in (f"images {shape}", "run/model.safetensors", "held-out images: ", "latent_dim=4"):
        assert text in said


def test_train_autoencoder_takes_a_family_that_fits_any_size_and_a_geometry(succeeds):
    succeeds("train-autoencoder DATA/sizes --size 12 --autoencoder 'spatial_kl(width=8)' --steps 2 "
             "--batch-size 2 --val-fraction 0.25 --out run --seed 3")  # fmt: skip
    settings = read("run/run.json")
    assert (settings["images"], settings["batch_size"], settings["seed"]) == (4, 2, 3)
    assert "EdgeAffine" in settings["transform"]  # as for every small set
    assert load_autoencoder("run/model.safetensors").channels == 3


def test_training_called_again_goes_on_and_other_settings_are_refused(succeeds, refused, files):
    succeeds(TRAIN)
    before = files()
    succeeds(TRAIN)
    assert "lr: 0.002 stored, 0.1 given" in refused(f"{TRAIN} --lr 0.1")
    assert "transform: " in refused(f"{TRAIN} --no-geometric")
    assert files() == before
    assert "3 steps: all steps of --steps are done" in succeeds(TRAIN.replace("--steps 1", "--steps 3"))
    assert "3 steps: the run was already complete" in succeeds(TRAIN)


def test_photographs_fine_tune_natural_and_drawings_train_a_vae(succeeds):
    said = succeeds("train-autoencoder DATA/rgb --steps 1 --batch-size 8 --out rgb")
    assert "start         natural (" in said
    settings = read("rgb/run.json")
    assert (settings["lr"], settings["from"][:9]) == (5e-4, "natural (")
    assert load_autoencoder("rgb/model.safetensors").image_shape == (3, None, None)
    succeeds("train-autoencoder digits --steps 1 --batch-size 8 --out drawings")
    assert load_autoencoder("drawings").name == "vae"
    assert "from" not in read("drawings/run.json")
    succeeds("train-autoencoder DATA/grey.npz --from drawings --steps 1 --batch-size 8 --lr 1e-3 --out further")
    assert read("further/run.json")["lr"] == 1e-3


# Ctrl-C at a step, which is sure to come after the training has begun.
INTERRUPTED = """
import os, signal, sys
from augmentor.autoencoders.trainer import AutoencoderTrainer
step = AutoencoderTrainer._step
def interrupted(self, state, images):
    if state.step == 37:
        os.kill(os.getpid(), signal.SIGINT)
    step(self, state, images)
AutoencoderTrainer._step = interrupted
from augmentor.cli import main
main(sys.argv[1:])
"""


def test_ctrl_c_keeps_what_there_is_and_the_same_command_goes_on(succeeds, data, files):
    line = TRAIN.replace("--steps 1", "--steps 60 --batch-size 8 --device cpu")
    command = [sys.executable, "-c", INTERRUPTED, *shlex.split(line.replace("DATA", str(data)))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 130
    assert f"stopped at step 38 of 60; start it the same way to resume from {Path('run').absolute()}" in done.stderr
    assert "Traceback" not in done.stderr
    assert {"run/model.safetensors", "run/history.jsonl", "run/reconstructions.png"} <= files().keys()
    assert json.loads(Path("run/history.jsonl").read_text())["step"] == 38
    succeeds(line)
    succeeds(line.replace("--out run", "--out whole"))
    assert files()["run/model.safetensors"] == files()["whole/model.safetensors"]


def test_preview_draws_the_policies_that_were_asked_for(succeeds, files):
    line = "preview digits --policy 'gaussian(std=1.0)' --policy smote --images 4"
    assert "gaussian(std=1.0), smote" in succeeds(f"{line} --out a/b.png")
    succeeds(line)
    assert files()["preview.png"] == files()["a/b.png"]
    assert Image.open("preview.png").height < 400
    succeeds("preview DATA/rgb --autoencoder DATA/rgb.safetensors --policy slerp")
    assert files()["preview.png"] != files()["a/b.png"]


def test_generate_and_go_on(succeeds, refused, files):
    line = "generate digits --num-samples 40 --shard-size 16 --out shards --seed 5"
    succeeds(line)
    shards = ShardDataset("shards")
    assert (len(shards), shards.image_shape, shards.manifest.seed) == (40, (1, 8, 8), 5)
    assert list(shards.classes) == [str(i) for i in range(10)]
    before = files()
    assert list(before) == ["shards/manifest.json", *(f"shards/shard-0000{i}.h5" for i in range(3))]
    Path("shards/shard-00001.h5").unlink()
    succeeds(line)
    assert "already contains shards" in refused(f"{line} --no-resume")
    assert "seed: 5 stored, 6 given" in refused(f"{line} --seed 6")
    assert files() == before


def test_an_image_without_a_partner_is_written_as_it_is(call, data):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert call("generate DATA/alone --policy smote --out shards").code == 0
    image, label = load_source(data / "alone")[24]
    assert label == 1
    assert torch.equal(ShardDataset("shards")[24][0], image)


def test_the_weights_are_named_with_their_family(succeeds, data):
    weights = f"{data}/rgb.safetensors (vae)"
    assert "autoencoder  digits (vae)" in succeeds("generate digits --num-samples 4 --out shards")
    assert weights in succeeds("preview DATA/rgb --autoencoder DATA/rgb.safetensors --policy slerp")
    assert f"{data}/run/model.safetensors (vae)" in succeeds("preview DATA/rgb --autoencoder DATA/run --policy slerp")
    assert f"features   {weights}" in succeeds("evaluate DATA/rgb DATA/rgb --features DATA/rgb.safetensors")
    assert read("metrics.json")["features"] == weights


@pytest.mark.filterwarnings("ignore:the gate rejects every sample")  # the autoencoder is untrained
def test_generate_from_colour_with_reference_samples_gzip_and_latents_that_are_kept(succeeds, files):
    line = (
        "generate DATA/rgb --anyway --autoencoder DATA/rgb.safetensors --policy 'smote(k=2)' --cache kept.safetensors"
    )
    succeeds(f"{line} --compression gzip --precision fp32+channels_last --out shards")
    shards = ShardDataset("shards")
    assert (len(shards), shards.image_shape, list(shards.classes)) == (24, (3, 16, 16), ["cats", "dogs"])
    manifest = read("shards/manifest.json")
    assert (manifest["compression"], manifest["precision"]) == ("gzip", "fp32+channels_last")
    assert manifest["fitted_sha256"] is not None
    before = Path("kept.safetensors").stat().st_mtime_ns
    said = succeeds(f"{line} --num-samples 20 --store latents --residual 0 --gate 0.95", "--out", "again")
    assert "samples are unchanged originals: the gate rejected all draws" in said
    assert eval(re.search(r"read them with augmentor\.(ShardDataset\(.*\))", said).group(1))[0][0].shape == (3, 16, 16)
    assert Path("kept.safetensors").stat().st_mtime_ns == before


def test_train_gan_then_evaluate(succeeds, files):
    said = succeeds("train-gan DATA/grey.npz --method gan --augment real --steps 2 --batch-size 8 --round-steps 1 "
                    "--network 'dcgan(width=8)' --out gan")  # fmt: skip
    names = ("checkpoint.pt", "generator.safetensors", "history.jsonl", "run.json",
             "samples/step-0000001.png", "samples/step-0000002.png")  # fmt: skip
    assert [name for name in files() if "tensorboard" not in name] == [f"gan/{name}" for name in names]
    settings = read("gan/run.json")
    assert (settings["augment"], settings["policy"]) == ("real", "smooth(std=0.25, cells=2)")
    generator = load_generator("gan/generator.safetensors")
    assert (generator.image_shape, generator.num_classes, generator.width) == ((1, 8, 8), 2, 8)
    assert "fd-smallnet" in said

    said = succeeds("evaluate gan/generator.safetensors DATA/grey.npz --num-samples 20 --out m.json")
    metrics = read("m.json")
    assert metrics["counts"] == {"generated": 20, "real": 20, "floor": 10}
    assert {"fd-smallnet", "kd-smallnet", "fjd-smallnet", "precision"} <= metrics.keys() & metrics["floor"].keys()
    assert metrics["features"] == "smallnet"
    assert f"fd-smallnet {metrics['fd-smallnet']:.4g}" in said
    assert f"differs: {metrics['alarm'][0]}" in said  # a generator after two steps


def test_train_gan_by_default_trains_an_autoencoder_and_starts_from_it(succeeds, files, monkeypatch):
    monkeypatch.setitem(starting_autoencoder.__kwdefaults__, "steps", 3)
    line = "train-gan DATA/grey.npz --batch-size 8 --round-steps 2 --steps 2"
    assert "gan-autoencoder/model.safetensors (vae)" in succeeds(f"{line} --out gan")
    assert read("gan-autoencoder/run.json")["what"] == "autoencoder"
    settings = read("gan/run.json")
    assert (settings["method"], settings["reconstruct"]) == ("ae-init", 5.0)
    generator, before = load_generator("gan"), files()
    assert (generator.num_classes, generator.num_codes) == (2, settings["images"])

    succeeds(f"{line} --out gan")  # reads both finished runs
    assert {name: data for name, data in files().items() if "autoencoder" in name} == {
        name: data for name, data in before.items() if "autoencoder" in name
    }


def test_an_augmentation_does_not_change_what_vae_gan_starts_from(succeeds):
    starts = []
    for augment in ("none", "both"):
        succeeds(f"train-gan digits --method vae-gan --augment {augment} --steps 1 --batch-size 8 --out {augment}")
        starts.append(read(f"{augment}/run.json")["starts_from"])
    assert starts[0] == starts[1]


def test_data_that_does_not_fit_is_noticed_before_an_autoencoder_is_trained(refused, files):
    images = np.zeros((12, 8, 8), np.uint8)
    np.savez("lonely.npz", images=images, labels=np.arange(12) // 11)
    assert "class 1 has 1 images" in refused("train-gan lonely.npz")
    np.savez("few.npz", images=images[:9], labels=np.arange(9) % 2)
    assert "at least 10 real images, got 9" in refused("train-gan few.npz")
    assert list(files()) == ["few.npz", "lonely.npz"]


def test_an_epoch_of_few_images_is_one_batch(succeeds):
    np.savez("few.npz", images=np.zeros((12, 8, 8), np.uint8))
    succeeds("train-gan few.npz --method gan --network 'dcgan(width=4)' --epochs 3 --out gan")
    assert read("gan/run.json")["steps"] == 3
    succeeds("train-gan few.npz --method gan --network 'dcgan(width=4)' --epochs 4 --discriminator-steps 2 --out two")
    assert read("two/run.json")["steps"] == 2


def test_train_gan_on_colour_without_an_autoencoder_or_classes(succeeds):
    said = succeeds("train-gan DATA/rgb --method gan --unconditional --epochs 1 --batch-size 8 "
                    "--loss 'wgan_gp(weight=5)' --network 'resnet(width=8)' --r1-gamma 0 --out gan")  # fmt: skip
    assert "autoencoder" not in said
    assert "fd-smallnet" in said
    history = read("gan/history.jsonl")  # one line
    assert history["step"] == 3  # 24 images in batches of 8
    assert history["fid"] > 0
    assert load_generator("gan/generator.safetensors").num_classes == 0


def test_train_gan_with_everything_said(succeeds):
    succeeds("train-gan DATA/grey.npz --method 'gan(r1_every=2)' --augment 'both+diffaugment(cutout=0)' "
             "--p 'adaptive(images=100, every=1)' --best-by kid --stop-on collapse --stop-on saturation --steps 2 "
             "--batch-size 8 --network 'dcgan(width=8, latent_dim=4)' --out gan")  # fmt: skip
    settings = read("gan/run.json")
    assert (settings["method"], settings["r1_every"], settings["best_by"]) == ("gan", 2, "kid")
    assert settings["augment"] == "both+diffaugment(colour=True, translation=0.125, cutout=0)"
    assert settings["augment 0"]["p"] == "adaptive(target=0.6, images=100, every=1, start=0.0)"
    assert "p" in json.loads(Path("gan/history.jsonl").read_text().splitlines()[-1])
    assert load_generator("gan/generator.safetensors").latent_dim == 4


def test_evaluate_shards_against_real_images(succeeds, files):
    line = f"evaluate DATA/shards DATA/grey.npz --features digits --seed {2**63 - 1}"
    assert "underestimate the distance" in succeeds(f"{line} --out one.json")
    succeeds(f"{line} --out two.json")
    assert list(files()) == ["one.json", "two.json"]
    assert files()["one.json"] == files()["two.json"]
    assert read("one.json")["counts"]["generated"] == 30


def test_evaluate_takes_arrays_as_generated_images(succeeds):
    assert "no large difference" in succeeds("evaluate DATA/grey.npz DATA/grey.npz")


def test_evaluate_compares_classes_by_their_names(succeeds, digits):
    """A folder that lacks a class numbers the others anew."""
    for part, first in (("real", 0), ("made", 1)):
        for number, (image, label) in enumerate(zip(digits.images[:300, 0].numpy(), digits.targets[:300], strict=True)):
            if first <= label < 5:
                Path(part, str(int(label))).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(f"{part}/{label}/{number}.png")
    succeeds("evaluate made real")
    made, real, features = load_source("made"), load_source("real"), load_features("smallnet")
    expected = frechet_joint_distance(features(made.images), made.targets + 1, features(real.images), real.targets)
    assert read("metrics.json")["fjd-smallnet"] == pytest.approx(expected, rel=1e-3)
    Path("real/4").rename("real/other")
    said = succeeds("evaluate made real")
    assert "fjd is not measured: GENERATED has classes that REAL does not have, such as 4" in said
    assert "fjd-smallnet" not in read("metrics.json")


def test_evaluate_looks_for_copies_among_all_real_images(succeeds):
    said = succeeds("evaluate digits digits --copies --num-samples 25 --out run/one.json")
    assert "underestimate" not in said
    assert "no large difference" in said
    copies = read("run/one.json")["copies"]
    assert (copies["images"], copies["exact"]) == (25, 25)  # each is found, wherever it stands among the 1,797
    assert (copies["floor"]["images"], copies["floor"]["exact"]) == (1797, 0)
    assert "25 of 25 are the same as a real image" in said
    assert Path("run/copies.html").read_text().count("data:image/png") == 2


def test_evaluate_leaves_bad_files_out_on_both_sides(call):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = call("evaluate DATA/one-bad DATA/one-bad --features DATA/rgb.safetensors")
    assert result.err.count("skipped 1 unreadable image (dogs/5.png)") + len(said) == 2
    assert read("metrics.json")["counts"]["generated"] == 23


def test_info_tells_what_there_is(succeeds):
    found = json.loads(succeeds("info --out info.json"))
    assert read("info.json") == found
    assert {"digits", "mnist"} <= found["pretrained"].keys()
    assert found["policies"]["smote"].startswith("smote(k=")
    assert "vae" in found["autoencoders"]
    assert "ada" in found["gan augmentations"]
    assert "gan" in found["training methods"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("digits", {"licence": "CC BY 4.0 (data), Apache-2.0 (weights)"}),
        ("DATA/rgb.safetensors", {"family": "autoencoder", "name": "vae"}),
        ("DATA/generator.safetensors", {"family": "generator", "name": "dcgan"}),
        ("DATA/shards", {"num_samples": 30, "policy": "gaussian(std=0.5)"}),
        ("DATA/run", {"what": "autoencoder", "images": 24}),
    ],
)
def test_info_describes_a_target(succeeds, target, expected):
    assert expected.items() <= json.loads(succeeds(f"info {target}")).items()


_HEAVY = """
import sys
from augmentor.cli import main
for arguments in ([], ["--help"], ["--version"], *([name, "--help"] for name in NAMES)):
    main(arguments)
try:
    main(["demoo"])
except SystemExit as end:
    assert end.code == 2
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "torchvision", "albumentations", "numpy",
      "matplotlib", "sklearn", "h5py", "PIL", "tqdm", "torch_fidelity", "safetensors", "jinja2"}), file=sys.stderr)
"""


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    code = _HEAVY.replace("NAMES", repr(list(COMMANDS)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    error, imported = done.stderr.splitlines()
    assert error.startswith("error: unknown command 'demoo'; did you mean 'demo'?")
    assert imported == ""
    _, overview, asked, *helps = re.split("^Usage: augmentor ", done.stdout, flags=re.MULTILINE)
    assert asked.startswith(overview)
    assert "0.1.0" in asked
    for name, said in zip(COMMANDS, helps, strict=True):
        assert f" {name} " in overview
        assert said.startswith(f"{name} ")
        for option in ("--seed", "--device", *(() if name == "explore" else ("--out",))):
            assert option in said


@pytest.mark.slow
def test_as_a_program_of_which_one_process_speaks(files, data, tmp_path):
    def run(line, **environment):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment}
        command = [sys.executable, "-m", "augmentor", *shlex.split(line.replace("DATA", str(data)))]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)

    line = TRAIN.replace("DATA/rgb", "DATA/one-bad")
    result = run(line)
    assert result.returncode == 0, result.stderr
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "skipped 1 unreadable image (dogs/5.png)" in warning
    before = files()
    assert json.loads(before["run/run.json"])["images"] == 23
    assert run(line, RANK="1").stdout == ""
    assert files() == before
