"""`assess`, and the words of a `Verdict`, on real cases of each."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision.transforms.v2.functional import resize

from augmentor import load_autoencoder
from augmentor._internal.random import seeded
from augmentor.autoencoders import ConvVAE
from augmentor.autoencoders.adapters import CallableAutoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError
from augmentor.quality import Verdict, assess
from augmentor.quality.verdict import pooled
from augmentor.training import AutoencoderTrainer


@pytest.fixture(scope="module")
def good():
    return load_autoencoder("digits")


@pytest.fixture(scope="module")
def some(digits) -> ArrayDataset:
    return digits.subset(torch.arange(200))


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Pieces of two photographs, halved in size: uint8 (N,3,32,32)."""
    whole = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images])
    pieces = whole[:, :, :384, :640].unfold(2, 64, 64).unfold(3, 64, 64).movedim(1, 3).flatten(0, 2)
    return resize(pieces, [32, 32], antialias=True)


def fewer_pixels(times: int) -> CallableAutoencoder:
    """The mean of each square of pixels."""
    return CallableAutoencoder(
        nn.AvgPool2d(times),
        nn.Upsample(scale_factor=times, mode="bilinear"),
        (3, None, None),
        stride=times,
        version="x",
    )


# --- the words


def test_good_is_what_gives_images_back(good, some, photographs):
    assert assess(good, some).word == assess(load_autoencoder("natural"), photographs).word == "good"


def test_fair_is_what_has_learnt_a_little(digits):
    few = digits.subset(torch.arange(240))
    with seeded(0, "weights"):
        started = ConvVAE((1, 8, 8))
    found = assess(AutoencoderTrainer(started, steps=100, progress=False).fit(few), few)
    assert found.word == "fair"
    assert found.same_size < found.psnr_db < 20


def test_few_pixels_are_poor(photographs):
    assert assess(fewer_pixels(16), photographs).word == "poor"


@pytest.mark.parametrize(
    ("psnr_db", "recognised", "word"),
    [(24.0, 0.9, "good"), (22.9, 0.9, "fair"), (24.0, 0.79, "fair"), (24.0, 0.59, "poor"), (17.9, 0.9, "poor"),
     (24.0, None, "good")],
)  # fmt: skip
def test_the_thresholds_are_those_of_its_description(psnr_db, recognised, word):
    found = Verdict(psnr_db, 12.0, 16.0, 20.0, 18.0, recognised, 64, 100, apart=0.5)
    assert found.word == word
    assert str(found).startswith(f"{word}: reconstructs 100 images with a mean PSNR of {psnr_db:.1f} dB")


def test_small_images_are_not_good_for_being_above_a_handful_of_pixels():
    """A quarter of 8x8 is four numbers, fewer than most latents."""
    assert Verdict(13.4, 11.0, 8.6, 8.8, 13.1, None, 16, 100, apart=0.8).word == "fair"


def test_a_digit_for_every_image_is_poor(photographs):
    """The network of MNIST on images of its shape that are no digits."""
    grey = resize(photographs, [28, 28], antialias=True).float().mean(1, keepdim=True).to(torch.uint8)
    assert assess(load_autoencoder("mnist"), grey).word == "poor"


def test_blank_images_are_good_where_they_come_back_nearly_as_they_are():
    """Simple codes give them back exactly, so a comparison says nothing."""
    blank = torch.full((8, 3, 16, 16), 0.5)
    assert assess(fewer_pixels(2), blank).word == "good"


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_blank_images_among_others_change_no_word(photographs, level, share):
    """Simple codes give them back exactly, and nothing does so for the others."""
    mixed = photographs.float() / 255
    mixed[:: round(1 / share)] = level
    assert assess(load_autoencoder("natural"), mixed).word == "good"
    assert assess(fewer_pixels(8), mixed).word == "poor"


class Broken(nn.Module):
    """Gives NaN for every pixel."""

    def encode(self, images):
        return SimpleNamespace(mean=torch.zeros(len(images), 4))

    def forward(self, images):
        return images * torch.nan


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_gives_no_numbers_back_is_poor(channels):
    assert assess(Broken(), torch.rand(8, channels, 16, 16)).word == "poor"


# --- what it takes


def test_one_image_has_a_verdict_and_none_has_not(good, some):
    assert assess(good, some.images[:1]).images == 1
    with pytest.raises(DataError, match="no images to reconstruct"):
        assess(good, some.images[:0])


def test_labels_decide_what_is_recognised(good, some):
    images, labels = some.images, some.targets
    assert assess(good, images).recognised is None
    known = assess(good, images, labels)
    assert known.recognised > 0.8
    assert assess(good, some) == known
    soft = nn.functional.one_hot(labels, 10).float()
    assert assess(good, images, soft).recognised == known.recognised
    assert assess(good, images, torch.full_like(labels, -1)).recognised is None
    assert assess(good, images, torch.zeros_like(labels)).recognised is None
    some_ignored = labels.masked_fill(torch.arange(len(labels)) % 4 == 0, -1)
    assert assess(good, images, some_ignored).recognised > 0.8


def test_few_images_are_recognised_with_more_to_learn_from(good, digits, some):
    few = digits.subset(torch.arange(1000, 1040))
    assert assess(good, few, training=some).recognised > 0.8
    for unlabelled in (some.images, list(some.images)):
        with pytest.raises(DataError, match="training needs labels"):
            assess(good, few, training=unlabelled)


def test_the_centre_of_a_large_image_is_looked_at(photographs):
    large = torch.zeros(2, 3, 300, 320, dtype=torch.uint8)
    large[..., 22:278, 32:288] = resize(photographs[:2], [256, 256])
    assert assess(fewer_pixels(8), large) == assess(fewer_pixels(8), large[..., 22:278, 32:288])


# --- written down


def test_figures_are_json_and_give_the_verdict_again(good, some):
    found = assess(good, some)
    figures = json.loads(json.dumps(found.figures()))
    assert figures["verdict"] == found.word
    assert Verdict.of(figures) == found
    assert Verdict.of(None) is Verdict.of({}) is Verdict.of("good") is None
    for value in ("27", None, True, float("nan")):
        assert Verdict.of({**figures, "psnr_db": value}) is None


def test_pooled_is_the_verdict_on_all_images(good, some):
    whole = assess(good, some.images)
    parts = pooled([assess(good, some.images[:50]), assess(good, some.images[50:])])
    assert (parts.images, parts.latent_size) == (whole.images, whole.latent_size)
    assert parts.psnr_db == pytest.approx(whole.psnr_db)
    assert parts.quarter == pytest.approx(whole.quarter)


def test_a_classifier_that_recognises_nothing_says_nothing(good, some):
    shuffled = some.targets[torch.randperm(len(some), generator=torch.Generator().manual_seed(0))]
    assert assess(good, some.images, shuffled).recognised is None
