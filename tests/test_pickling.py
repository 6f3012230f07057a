"""Every public object with state makes the same after pickling, here and in a spawned loader worker."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle

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
    match thing:
        case augmentor.LatentAugment():
            return thing(images, labels)[0]
        case augmentor.Autoencoder():
            return thing(images)
        case augmentor.LatentSampler():
            X = np.random.RandomState(0).rand(20, 64)
            return torch.from_numpy(thing.fit_resample(X, [0] * 14 + [1] * 6)[0])
        case augmentor.QualityGate():
            z = torch.linspace(-3, 3, 40).reshape(5, 8)
            return torch.stack(list(thing.score(Latents(z, None, labels)).each().values()))
        case augmentor.LatentCache():
            return thing[[0, 2]].mean
        case augmentor.MixedDataset() | augmentor.ShardDataset():
            return torch.stack([image.float() for image, _ in thing.__getitems__([0, len(thing) - 1])])
        case augmentor.AugmentedLoader():
            thing.set_epoch(0)
            return torch.cat([batch.float() for batch, _ in thing])
    raise AssertionError(f"what does a {type(thing).__name__} make?")


class Made(Dataset):
    """What each object makes, made in a worker."""

    def __init__(self, things: list[object]):
        self.things = things

    def __len__(self):
        return len(self.things)

    def __getitem__(self, index):
        return pixels(self.things[index])


@pytest.fixture
def things(digits, vae, tmp_path) -> list[object]:
    """An instance of every public class, every autoencoder family, and the transform with every policy."""
    few = digits.subset(torch.arange(40))
    augments = [
        augmentor.LatentAugment(vae, policies.get(name).example(), p=1.0, seed=1).fit(few) for name in list_policies()
    ]
    gated = augmentor.LatentAugment(vae, p=1.0, seed=1, gate=augmentor.QualityGate()).fit(few)
    folder = augmentor.generate_shards(few, augments[0], tmp_path / "shards", num_samples=10)
    made = [
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
    for name in CLASSES:
        assert any(isinstance(thing, getattr(augmentor, name)) for thing in made), name
    return made


@pytest.mark.parametrize("where", ["here", pytest.param("in a spawned worker", marks=pytest.mark.slow)])
def test_what_was_used_and_pickled_makes_the_same(things, where):
    expected = [pixels(thing) for thing in things]
    again = pickle.loads(pickle.dumps(Made(things)))
    if where == "in a spawned worker":
        spawn = multiprocessing.get_context("spawn")
        again = DataLoader(Made(things), batch_size=None, num_workers=1, multiprocessing_context=spawn)
    for made, here in zip(again, expected, strict=True):
        torch.testing.assert_close(made, here, atol=1.01 if made.max() > 1 else 1e-5, rtol=0)
