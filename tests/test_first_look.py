"""A `LatentAugment` looks at its first images, and warns once if its autoencoder reconstructs them poorly."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader, Dataset

import augmentor
from augmentor import AugmentedLoader, LatentAugment, MixedDataset, generate_shards
from augmentor._internal.random import seeded
from augmentor.autoencoders import CallableAutoencoder, ConvVAE
from augmentor.autoencoders.first_look import poor_message
from augmentor.exceptions import AugmentorWarning
from augmentor.quality import Verdict

# The settings of the test suite ignore it.
pytestmark = pytest.mark.filterwarnings("always:autoencoder .* reconstructs these images poorly")
POOR = r"reconstructs these images poorly.*\d+\.\d dB.*'natural'.*augmentor train-autoencoder"


def untrained() -> LatentAugment:
    with seeded(0, "weights"):
        return LatentAugment(ConvVAE((1, 8, 8)), "gaussian(std=0.5)", p=1.0, seed=0)


@contextmanager
def warned(times: int):
    """That the code inside warns of a poor reconstruction so many times."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        yield
    assert sum("reconstructs these images poorly" in str(each.message) for each in given) == times


@pytest.fixture
def few(digits):
    return digits.subset(torch.arange(24))


def test_it_names_the_figure_and_what_to_do_once(few):
    augment = untrained()
    with pytest.warns(match=POOR):
        augment(few.images)
    with warned(0):
        augment(few.images)


def test_images_that_come_one_by_one_are_looked_at_together(few):
    augment = untrained()
    with warned(0):
        for image in few.images[:2]:
            augment(image)
    with warned(1):
        for image in few.images[2:]:
            augment(image)


def test_a_good_one_is_not_warned_of(few):
    photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    with warned(0):
        LatentAugment("digits", "gaussian(std=0.5)", p=1.0)(few.images)
        LatentAugment(p=1.0)(few.images)
        LatentAugment(p=1.0)(photograph.unfold(1, 32, 32).unfold(2, 32, 32).movedim(0, 2).flatten(0, 1))


USES = {
    "fit": lambda augment, data, folder: augment.fit(data),
    "MixedDataset": lambda augment, data, folder: MixedDataset(data, augment),
    "AugmentedLoader": lambda augment, data, folder: next(iter(AugmentedLoader(DataLoader(data, 12), augment))),
    "generate_shards": lambda augment, data, folder: generate_shards(data, augment, folder, num_samples=4),
}


@pytest.mark.parametrize("use", USES)
def test_every_way_of_use_looks(few, tmp_path, use):
    augment = untrained()
    with warned(1):
        USES[use](augment, few, tmp_path / "shards")
        augment(few.images)


@pytest.mark.parametrize("count", [9, 12, 17, 25, 49])
def test_a_data_set_of_any_size_is_enough_for_a_verdict(digits, count):
    with warned(1):
        MixedDataset(digits.subset(torch.arange(count)), untrained())


def test_no_images_are_no_reason_to_fail(few):
    for augment in (untrained(), LatentAugment(p=1.0)):
        assert augment(few.images[:0]).shape == (0, 1, 8, 8)
        assert augment(few.images).shape == (24, 1, 8, 8)


def test_a_network_of_one_large_size_sees_images_whole(few):
    encoder, decoder = torch.nn.Conv2d(3, 4, 8, stride=8), torch.nn.ConvTranspose2d(4, 3, 8, stride=8)
    augment = LatentAugment(CallableAutoencoder(encoder, decoder, (3, 320, 264), stride=8), "gaussian(std=0.5)", p=1.0)
    with warned(1):
        assert augment(torch.rand(8, 3, 320, 264)).shape == (8, 3, 320, 264)


def test_a_warning_of_the_general_one_does_not_advise_to_take_it():
    assert "such as 'natural'" not in poor_message("natural", Verdict(9, 13, 18, 22, 27, None, 768, 8, 2.0))


class Augmented(Dataset):
    """A data set that applies its transform to each image, as those of torchvision do."""

    def __init__(self, images: torch.Tensor):
        self.images, self.transform = images, untrained()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(self.images[row])


def test_a_transform_inside_a_loader_s_worker_looks(few):
    """As an error, which the loader hands on: a worker's warnings go to its own standard error output."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "autoencoder .* reconstructs these images poorly")
        with pytest.raises(AugmentorWarning, match=POOR):
            list(DataLoader(Augmented(few.images), 12, num_workers=1))


def test_the_albumentations_transform_looks(mnist_like):
    augment = augmentor.albumentations.LatentAugment("mnist", "gaussian(std=0.5)", p=1.0)
    with warned(1):
        for image in mnist_like:
            augment(image=image)


@pytest.fixture
def mnist_like() -> list[np.ndarray]:
    """Images of the shape of MNIST's that are no digits: stripes."""
    stripes = np.zeros((28, 28, 1), np.uint8)
    stripes[::2] = 255
    return [np.roll(stripes, step, axis=0) for step in range(10)]


def test_images_are_told_apart_by_their_pixels_and_not_by_where_they_are_in_memory(few):
    """A loop may use one piece of memory for all images."""
    augment, place = untrained(), torch.empty_like(few[0][0])
    with warned(1):
        for image, _ in few:
            augment(place.copy_(image))


def test_once_enough_images_were_seen_nothing_is_looked_at_again(few, monkeypatch):
    augment = untrained()
    with warned(1):
        augment(few.images)
    monkeypatch.setattr("augmentor.autoencoders.first_look.assess", None)
    monkeypatch.setattr("augmentor.autoencoders.augmenter.check_images", None)
    augment(few.images)
