"""Where random numbers come from: torch's default generator without a seed, the sample's own key with one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from augmentor import AugmentedLoader, LatentAugment, MixedDataset
from augmentor.exceptions import InputError
from augmentor.shards import ShardDataset, generate_shards


class Transformed(Dataset):
    """The same image eight times, with a transform."""

    def __init__(self, image, transform):
        self.image, self.transform = image, transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.transform(self.image)


def epochs(dataset, count=2, workers=0, seed=0, shuffle=False):
    """Batches of some epochs of one loader, as one tensor each."""
    torch.manual_seed(seed)
    loader = DataLoader(dataset, 5, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0)
    return [torch.cat([batch if isinstance(batch, torch.Tensor) else batch[0] for batch in loader])
            for _ in range(count)]  # fmt: skip


@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "interpolate"])
def test_manual_seed_repeats_a_transform_without_a_seed_and_every_call_draws_anew(digits, policy):
    images, labels = digits.images[:16], digits.targets[:16] % 2
    augment = LatentAugment("digits", policy)
    for call in (lambda: augment(images, labels)[0], lambda: augment.synthesize(images, labels)[0],
                 lambda: augment.synthesize(images, labels, indices=range(16))[0],
                 lambda: v2.Compose([augment, v2.RandomHorizontalFlip()])(images, labels)[0]):  # fmt: skip
        torch.manual_seed(5)
        first, second = call(), call()
        torch.manual_seed(5)
        assert torch.equal(call(), first)
        assert not torch.equal(first, second)
        torch.manual_seed(6)
        assert not torch.equal(call(), first)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_in_a_loader_samples_and_epochs_differ_and_manual_seed_repeats_them(digits, workers):
    dataset = Transformed(digits.images[0], LatentAugment("digits", "gaussian(std=0.5)", p=1.0))
    made = torch.cat(epochs(dataset, workers=workers))
    assert len(made.unique(dim=0)) == 16
    assert torch.equal(torch.cat(epochs(dataset, workers=workers)), made)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_mixed_data_sets_are_fresh_in_every_epoch_and_frozen_with_a_seed(digits, workers):
    few = digits.subset(torch.arange(10))
    fresh = MixedDataset(few, LatentAugment("digits", "gaussian(std=0.5)"))
    first, second, third = (part[10:] for part in epochs(fresh, 3, workers))
    assert len(torch.cat([first, second, third]).unique(dim=0)) == 30
    assert torch.equal(epochs(fresh, 1, workers)[0][10:], first)
    assert not torch.equal(epochs(fresh, 1, workers, seed=1)[0][10:], first)
    frozen = MixedDataset(few, LatentAugment("digits", "gaussian(std=0.5)"), seed=4)
    first, second = (part[10:] for part in epochs(frozen, 2, workers))
    assert torch.equal(first, second)
    torch.testing.assert_close(epochs(frozen, 1, 0, seed=9)[0][10:], first, atol=1, rtol=0)


def test_one_draw_of_the_generator_gives_samples_of_the_batch_different_noise(digits):
    augment = LatentAugment("digits", "gaussian(std=0.5)", p=1.0)
    assert len(augment(digits.images[:1].expand(20, -1, -1, -1)).unique(dim=0)) == 20
    few = MixedDataset(digits.subset(torch.zeros(20, dtype=torch.int64)), augment, ratio=2)
    assert len(torch.stack([image for image, _ in few.__getitems__(range(20, 60))]).unique(dim=0)) == 40


def test_the_transform_s_seed_holds_where_no_other_is_given(digits, tmp_path):
    few, augment = digits.subset(torch.arange(6)), LatentAugment("digits", "gaussian(std=0.5)", seed=3)
    plain = LatentAugment("digits", "gaussian(std=0.5)")

    def rows(mixed):
        return torch.stack([image for image, _ in mixed.__getitems__(range(6, 12))])

    assert torch.equal(rows(MixedDataset(few, augment)), rows(MixedDataset(few, plain, seed=3)))
    assert torch.equal(rows(MixedDataset(few, augment, seed=4)), rows(MixedDataset(few, plain, seed=4)))
    for seed, transform, expected in ((None, augment, 3), (5, augment, 5), (None, plain, 0)):
        out = generate_shards(few, transform, tmp_path / str(expected), num_samples=2, seed=seed, progress=False)
        assert ShardDataset(out).manifest.seed == expected


def test_a_chance_that_would_be_ignored_is_refused(digits, tmp_path):
    few = digits.subset(torch.arange(6))
    for p in (0.3, 0.999):
        augment = LatentAugment("digits", p=p)
        with pytest.raises(InputError, match=f"p={p}"):
            MixedDataset(few, augment)
        with pytest.raises(InputError, match=f"p={p}"):
            AugmentedLoader([(few.images, few.targets)], augment)
        with pytest.raises(InputError, match=f"p={p}"):
            generate_shards(few, augment, tmp_path / "out", num_samples=2)
    MixedDataset(few, LatentAugment("digits", p=1.0))


def test_copies_go_their_own_ways_only_through_the_generator(digits):
    augment = LatentAugment("digits", "gaussian(std=0.5)", p=1.0)
    twin = copy.deepcopy(augment)
    torch.manual_seed(0)
    first = augment(digits.images[:4])
    torch.manual_seed(0)
    assert torch.equal(twin(digits.images[:4]), first)
