"""Every command on a folder of images without class folders, and with paths below ``~``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from augmentor import LatentAugment, MixedDataset, ShardDataset
from augmentor.data import load_source
from augmentor.gan import load_generator
from augmentor.views.explore import Explorer, Settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with 24 images in ``flat``; commands are called elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    flat = tmp_path / "home" / "flat"
    flat.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = np.clip(random.normal(60 + 5 * number, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(flat / f"{number}.png")
    return tmp_path / "home"


TRAIN = "train-autoencoder ~/flat --autoencoder 'vae(latent_dim=4, width=8)' --steps 1 --batch-size 8 --out=~/ae"


def test_every_command_takes_images_without_classes(succeeds, home, tmp_path):
    succeeds(TRAIN)
    succeeds("preview ~/flat --autoencoder ~/ae --policy smote --policy gaussian --out=~/preview.png")
    assert Image.open(home / "preview.png").width > 100
    succeeds("generate ~/flat --autoencoder ~/ae --policy smote --num-samples 20 --anyway --cache=~/kept.safetensors "
             "--out=~/shards")  # fmt: skip
    assert (home / "kept.safetensors").is_file()
    assert ShardDataset("~/shards").targets.tolist() == [0] * 20
    succeeds("verify ~/shards")
    assert json.loads(succeeds("info ~/ae"))["what"] == "autoencoder"
    succeeds("train-gan ~/flat --method gan --autoencoder ~/ae --augment real --anyway --steps 2 --batch-size 8 "
             "--round-steps 1 --network 'dcgan(width=8)' --out=~/gan")  # fmt: skip
    assert load_generator(home / "gan").num_classes == 0
    for generated in ("~/gan", "~/shards"):
        succeeds(f"evaluate {generated} ~/flat --features ~/ae --num-samples 20 --out=~/metrics.json")
        assert json.loads((home / "metrics.json").read_text())["counts"]["real"] == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_images_without_classes_in_python(succeeds, home):
    succeeds(TRAIN)
    data = load_source(home / "flat")
    mixed = MixedDataset(data, LatentAugment(home / "ae", "smote(k=3)").fit(data), ratio=0.5)
    assert len(mixed) == 36
    image, label = mixed[30]
    assert (image.shape, image.dtype, label) == ((3, 16, 16), torch.uint8, 0)
    view = Explorer().view(Settings("~/flat", autoencoder="~/ae", images=2, copies=1))
    assert view.config["autoencoder"] == str(home / "ae" / "model.safetensors")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tune ~/flat", "put the files of each class into a separate folder, or choose the task fid"),
        ("train-gan ~/flat --conditional", "~/flat has no labels or one class; omit --conditional"),
    ],
)
def test_what_needs_labels_says_so(refused, home, line, said):
    assert said in refused(line)
