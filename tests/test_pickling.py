"""Every public object with state works in spawned loader workers, which get it by pickle."""

from __future__ import annotations

import inspect
import multiprocessing

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import augmentor
from augmentor.autoencoders import autoencoders
from augmentor.latents import Latents
from augmentor.policies import list_policies, policies

CLASSES = [name for name in augmentor.__all__ if inspect.isclass(getattr(augmentor, name))]


@torch.no_grad()
def pixels(thing: object) -> torch.Tensor:
    """Some numbers that the object makes, the same for an equal object."""
    images = torch.linspace(0, 1, 5 * 64).reshape(5, 1, 8, 8)
    labels = torch.tensor([0, 1, 0, 1, 0])
    if isinstance(thing, augmentor.LatentAugment):
        return thing(images, labels)[0]
    if isinstance(thing, augmentor.Autoencoder):
        return thing(images)
    if isinstance(thing, augmentor.LatentSampler):
        X = np.random.RandomState(0).rand(20, 64)
        return torch.from_numpy(thing.fit_resample(X, [0] * 14 + [1] * 6)[0])
    if isinstance(thing, augmentor.QualityGate):
        z = torch.linspace(-3, 3, 40).reshape(5, 8)
        return torch.stack(list(thing.score(Latents(z, None, labels)).each().values()))
    if isinstance(thing, augmentor.LatentCache):
        return thing[[0, 2]].mean
    if isinstance(thing, (augmentor.MixedDataset, augmentor.ShardDataset)):
        return torch.stack([image.float() for image, _ in thing.__getitems__([0, len(thing) - 1])])
    assert isinstance(thing, augmentor.AugmentedLoader)
    return torch.cat([batch.float() for batch, _ in thing])


class Made(Dataset):
    """What each object makes, made in a worker."""

    def __init__(self, things: list[object]):
        self.things = things

    def __len__(self):
        return len(self.things)

    def __getitem__(self, index):
        return type(self.things[index]).__name__, pixels(self.things[index])


@pytest.fixture
def things(digits, vae, tmp_path) -> list[object]:
    """An instance of every public class, every autoencoder family, and the transform with every policy."""
    few = digits.subset(torch.arange(40))
    augments = [
        augmentor.LatentAugment(vae, policies.get(name).example(), p=1.0, seed=1).fit(few) for name in list_policies()
    ]
    gated = augmentor.LatentAugment(vae, p=1.0, seed=1, gate=augmentor.QualityGate()).fit(few)
    folder = augmentor.generate_shards(few, augments[0], tmp_path / "shards", num_samples=10)
    return [
        *augments,
        gated,
        gated.gate,
        *(autoencoders.get(name).example().eval() for name in autoencoders.names()),
        augmentor.AugmentedLoader([(few.images[:8], few.targets[:8])], augments[0]),
        augmentor.MixedDataset(few, augments[0]),
        augmentor.ShardDataset(folder),
        augmentor.LatentCache(few, vae, tmp_path / "cache.safetensors"),
        augmentor.LatentSampler("digits", random_state=0),
    ]


def test_every_public_class_is_among_them(things):
    for name in CLASSES:
        assert any(isinstance(thing, getattr(augmentor, name)) for thing in things), name


def test_they_make_the_same_in_a_spawned_worker(things):
    for thing in things:  # drawn here once: a worker has to do as well with an object that was used
        pixels(thing)
    expected = []
    for thing in things:
        if isinstance(thing, augmentor.AugmentedLoader):
            thing.set_epoch(0)
        expected.append(pixels(thing))
        if isinstance(thing, augmentor.AugmentedLoader):
            thing.set_epoch(0)
    loader = DataLoader(
        Made(things), batch_size=None, num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn")
    )
    for thing, (name, made), here in zip(things, loader, expected, strict=True):
        assert name == type(thing).__name__
        torch.testing.assert_close(made, here, atol=1.01 if made.max() > 1 else 1e-5, rtol=0)
