"""Promise 1: what a sample becomes depends on (seed, epoch, index, draw index), and on nothing else.

Two data sets are read side by side. One has an autoencoder that is the identity, so that its float images *are* the
perturbed latents: they have to agree bit for bit. The other has a trained autoencoder and uint8 images: a network is
not bitwise independent of the shape of its batch, so they may differ by one level.
"""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, StackDataset, get_worker_info

from augmentor import Autoencoder, LatentAugment, MixedDataset
from augmentor.data import ArrayDataset

COUNT = 70
IMPORTS = ["augmentor.data.mixed", "augmentor.autoencoders", "augmentor.policies"]


class Identity(Autoencoder):
    """Latents are pixels."""

    name = "identity"

    def __init__(self):
        super().__init__((1, 8, 8), (64,), "gaussian", "none")

    def _encode(self, images):
        return images.flatten(1), None

    def _decode(self, latents):
        return latents.unflatten(1, (1, 8, 8))


class GreyFloats(Dataset):
    """Digits as floats well inside [0, 1], so that nothing is clipped."""

    def __init__(self, digits: ArrayDataset):
        self.images, self.targets = digits.images / 255 * 0.2 + 0.4, digits.targets
        self.classes = digits.classes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.targets[index])


def mixed_pair(digits: ArrayDataset, vae: Autoencoder, policy: str) -> StackDataset:
    """Latents and images of the same policy, half of each real and half synthetic."""
    strength = policy.replace("gaussian", "gaussian(std=0.03)"), policy.replace("gaussian", "gaussian(std=0.5)")
    part = digits.subset(torch.arange(COUNT))
    latents = MixedDataset(GreyFloats(part), LatentAugment(Identity(), strength[0]), seed=11)
    images = MixedDataset(part, LatentAugment(vae, strength[1]), seed=11)
    return StackDataset(latents=latents, images=images)


def read(loader: DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader)
    assert len(batches) == len(loader)
    return tuple(torch.cat([batch[name][0] for batch in batches]) for name in ("latents", "images"))


def loader_of(data: Dataset, batch_size: int, start: str | None = None, workers: int = 0, **arguments) -> DataLoader:
    """start: how its workers are started."""
    context = multiprocessing.get_context(start) if workers else None
    if start == "forkserver":
        context.set_forkserver_preload(IMPORTS)  # imported once, not once a worker
    return DataLoader(data, batch_size, num_workers=workers, multiprocessing_context=context, **arguments)


def assert_same(loader: DataLoader, expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    latents, images = read(loader)
    assert torch.equal(latents, expected[0])
    assert images.dtype == torch.uint8
    assert (images.int() - expected[1].int()).abs().max() <= 1


@pytest.fixture
def pair(digits, vae) -> StackDataset:
    return mixed_pair(digits, vae, "gaussian")


def test_the_samples_of_this_test_are_perturbed(pair):
    latents, images = read(DataLoader(pair, 2 * COUNT))
    assert len(latents) == 2 * COUNT
    sources = pair.datasets["latents"].sources
    assert (latents[COUNT:] != latents[sources]).flatten(1).all(1).all()
    assert (images[COUNT:] != images[sources]).flatten(1).any(1).all()
    assert latents.min() > 0
    assert latents.max() < 1


@pytest.mark.parametrize("policy", ["gaussian", "compose(gaussian, smote(k=3))", "one_of(gaussian, interpolate)"])
def test_the_same_for_every_batch_size_order_and_number_of_forked_workers(digits, vae, policy):
    pair = mixed_pair(digits, vae, policy)
    expected = read(DataLoader(pair, 2 * COUNT))
    for batch_size, workers in ((1, 0), (7, 2)):
        assert_same(loader_of(pair, batch_size, "fork", workers), expected)
    order = torch.randperm(2 * COUNT, generator=torch.Generator().manual_seed(1))
    assert_same(DataLoader(pair, 13, sampler=order.tolist()), tuple(part[order] for part in expected))


@pytest.mark.slow
@pytest.mark.parametrize(("start", "batch_size", "workers"), [("spawn", 64, 2), ("forkserver", 7, 3)])
def test_the_same_for_every_way_to_start_workers(pair, start, batch_size, workers):
    assert_same(loader_of(pair, batch_size, start, workers), read(DataLoader(pair, 2 * COUNT)))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_new_epoch_reaches_workers_that_already_run(pair, start):
    here, loader = DataLoader(pair, 2 * COUNT), loader_of(pair, 64, start, 1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 5, 0):
        for part in pair.datasets.values():
            part.set_epoch(epoch)
        expected = read(here)
        assert_same(loader, expected)
        seen.append(expected[0])
    assert torch.equal(seen[0], seen[3])
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert (seen[first][COUNT:] != seen[second][COUNT:]).flatten(1).any(1).all()
        assert torch.equal(seen[first][:COUNT], seen[second][:COUNT])


class Transformed(Dataset):
    """One image again and again, through a transform, with the worker that made it."""

    def __init__(self, image: torch.Tensor, augment: LatentAugment, count: int):
        self.image, self.augment, self.count = image, augment, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        worker = get_worker_info()
        return self.augment(self.image), -1 if worker is None else worker.id


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), pytest.param("forkserver", 2, marks=pytest.mark.slow)])
def test_without_a_seed_no_two_workers_or_epochs_draw_the_same(digits, start, workers):
    image = digits.images[0] / 255 * 0.2 + 0.4
    augment = LatentAugment(Identity(), "gaussian(std=0.03)", p=1.0, seed=None)
    augment(image)  # the parent has drawn already when its workers start
    loader = loader_of(Transformed(image, augment, 24), 4, start, workers)
    made, makers = zip(*(batch for _ in range(2) for batch in loader), strict=True)
    assert set(torch.cat(makers).tolist()) == set(range(workers))
    assert len(torch.cat(made).unique(dim=0)) == 48


def test_with_a_seed_all_workers_make_the_same_in_each_epoch_that_is_set(digits, vae):
    augment = LatentAugment(vae, p=1.0, seed=4)
    loader = loader_of(Transformed(digits.images[5], augment, 12), 3, "fork", 2, persistent_workers=True)
    made = []
    for epoch in (0, 1, 0):
        augment.set_epoch(epoch)
        made.append(torch.cat([images for images, _ in loader]))
        assert (made[-1].int() - augment(digits.images[5]).int()).abs().max() <= 1
    assert torch.equal(made[0], made[2])
    assert (made[0] != made[1]).flatten(1).any(1).all()
