"""Autoencoders that are bad on purpose are caught by every instrument, and good ones by none.

`benchmarks/bad_autoencoders.py` does the same on photographs of clothes and on MNIST.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_images
from torchvision.transforms.v2.functional import resize

from augmentor import load_autoencoder
from augmentor.autoencoders import autoencoders
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning

BENCHMARKS = str(Path(__file__).resolve().parents[1] / "benchmarks")
# Not each of the five twice: training them takes longest.
BAD = [
    ("photographs", "50 steps"), ("photographs", "constant"), ("photographs", "blurred"),
    ("digits", "0 steps"), ("digits", "constant"), ("digits", "blurred"),
]  # fmt: skip
GOOD = [("photographs", "good"), ("digits", "good")]


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("bad_autoencoders")
    del autoencoders.members["blurred"], sys.modules["bad_autoencoders"]


@pytest.fixture(scope="module")
def cases(benchmark, digits):
    """Pieces of two photographs, made four times smaller, 32x32; and digits, 8x8."""
    whole = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images])
    small = resize(whole, [107, 160], antialias=True)
    pieces = small.unfold(2, 32, 8).unfold(3, 32, 8).movedim(1, 3).flatten(1, 2)
    labels = torch.arange(2).repeat_interleave(pieces.shape[1])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:120]
    images = pieces.flatten(0, 1)
    photographs = ArrayDataset(images[order], labels[order], ["china", "flower"])
    return {
        "photographs": benchmark.Case(photographs, "natural"),
        "digits": benchmark.Case(digits.subset(torch.arange(120)), "digits", sigma=1.0),
    }


@pytest.fixture(scope="module")
def weights(benchmark, cases, tmp_path_factory):
    """The file of an autoencoder of a kind, made once."""
    made = {}

    def find(images: str, kind: str) -> Path:
        if (images, kind) not in made:
            made[images, kind] = tmp_path_factory.mktemp("weights") / "model.safetensors"
            with warnings.catch_warnings(action="ignore", category=AugmentorWarning):
                benchmark.KINDS[kind](cases[images], made[images, kind])
        return made[images, kind]

    return find


@pytest.mark.slow
@pytest.mark.parametrize(("images", "kind"), BAD)
def test_every_instrument_catches_a_bad_one(benchmark, cases, weights, images, kind):
    case, path = cases[images], weights(images, kind)
    with warnings.catch_warnings(action="ignore", category=AugmentorWarning):
        found = {name: look(load_autoencoder(path), case) for name, look in benchmark.INSTRUMENTS.items()}
    assert all(each["caught"] for each in found.values()), found
    assert benchmark.exit_codes(path, case) == {"generate": 2, "train-gan": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("images", "kind"), GOOD)
def test_no_instrument_catches_a_good_one(benchmark, cases, weights, images, kind):
    case, path = cases[images], weights(images, kind)
    found = {name: look(load_autoencoder(path), case) for name, look in benchmark.INSTRUMENTS.items()}
    assert not any(each["caught"] for each in found.values()), found
    assert found["gate"]["rejected"] < 0.3
    assert found["verdict"]["verdict"] == "good"
    assert benchmark.exit_codes(path, case) == {"generate": 0, "train-gan": 0}


@pytest.mark.slow
def test_commands_go_on_with_a_bad_one_where_they_are_told_to(benchmark, cases, weights):
    codes = benchmark.exit_codes(weights("digits", "constant"), cases["digits"], "--anyway")
    assert codes == {"generate": 0, "train-gan": 0}
