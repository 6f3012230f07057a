"""`AugmentedLoader`: each batch with synthetic samples behind the real ones."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import load_autoencoder as load
from augmentor.data import AugmentedLoader, BlockSampler, Indexed
from augmentor.data.loader import _rank_of
from augmentor.exceptions import (
    AugmentorWarning,
    CacheError,
    InputError,
    RangeError,
    ReferenceSetError,
    ShapeError,
)
from augmentor.latents import LatentCache
from augmentor.quality import QualityGate
from augmentor.transform import LatentAugment

COUNT = 48


@pytest.fixture
def data(digits) -> TensorDataset:
    return TensorDataset(digits.images[:COUNT], digits.targets[:COUNT])


@pytest.fixture
def augment(vae) -> LatentAugment:
    return LatentAugment(vae, "gaussian(std=0.5)")


def synthetic(loader: AugmentedLoader) -> torch.Tensor:
    """All synthetic images of one epoch."""
    assert loader.return_mask
    return torch.cat([images[mask] for images, *_, mask in loader])


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0])
def test_a_batch_gets_ratio_times_its_size(data, augment, ratio):
    loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=ratio, return_mask=True)
    assert len(loader) == 3
    for images, labels, mask in loader:
        assert len(images) == len(labels) == len(mask) == 16 + 16 * ratio
        assert mask.tolist() == [False] * 16 + [True] * int(16 * ratio)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.77, 1.5])
@pytest.mark.parametrize("batch_size", [1, 7, 48])
def test_the_total_of_an_epoch_is_exact_within_one(data, augment, ratio, batch_size):
    loader = AugmentedLoader(DataLoader(data, batch_size), augment, ratio=ratio, return_mask=True)
    for _ in range(3):
        assert abs(len(synthetic(loader)) - ratio * COUNT) < 1


def test_real_rows_come_first_and_untouched(data, augment):
    for number, (images, labels) in enumerate(AugmentedLoader(DataLoader(data, 16), augment)):
        rows = slice(16 * number, 16 * number + 16)
        assert torch.equal(images[:16], data.tensors[0][rows])
        assert torch.equal(labels[:16], data.tensors[1][rows])
        assert len(images) == 24


def test_every_image_has_its_turn_over_the_epochs(data, augment):
    loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=0.5)
    labels = data.tensors[1]
    chosen = torch.zeros(COUNT)
    for epoch in range(20):
        loader.set_epoch(epoch)
        loader.epoch = epoch
        rows, _ = loader._chosen(np.arange(COUNT))
        chosen[rows] += 1
    assert len(labels) == COUNT
    assert chosen.sum() == 20 * COUNT / 2
    assert chosen.min() > 0


def test_synthetic_labels_are_those_of_their_sources(data, augment):
    loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=2.0)
    for images, labels in loader:
        assert torch.equal(labels[16:], labels[:16].repeat_interleave(2))
        assert (images[16:] != images[:16].repeat_interleave(2, 0)).flatten(1).any(1).all()


@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "smote(k=3)"])
@pytest.mark.parametrize("ratio", [0.3, 1.5])
def test_a_sample_does_not_depend_on_the_batch_size(data, digits, vae, policy, ratio):
    augment = LatentAugment(vae, policy).fit(digits)
    results = [
        synthetic(AugmentedLoader(DataLoader(data, size), augment, ratio=ratio, return_mask=True, seed=3))
        for size in (48, 7, 1)
    ]
    for other in results[1:]:
        assert other.shape == results[0].shape
        assert (other.int() - results[0].int()).abs().max() <= 1


def test_the_noise_is_that_of_seed_epoch_place_and_copy(data, augment):
    loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=2.0, return_mask=True, seed=5)
    loader.set_epoch(4)
    got = synthetic(loader)
    keys = sample_keys(5, 4, np.repeat(np.arange(COUNT), 2), np.tile([0, 1], COUNT))
    made, _, _ = augment.perturb(data.tensors[0].repeat_interleave(2, 0), None, SampleRandom(keys))
    assert (got.int() - (made * 255).round().int()).abs().max() <= 1


def test_each_epoch_differs_unless_it_is_set_again(data, augment):
    loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=1.0, return_mask=True)
    first, second = synthetic(loader), synthetic(loader)
    assert loader.epoch == 1
    assert (first != second).flatten(1).any(1).all()
    loader.set_epoch(0)
    assert torch.equal(synthetic(loader), first)
    other = AugmentedLoader(DataLoader(data, 16), augment, ratio=1.0, return_mask=True, seed=1)
    assert not torch.equal(synthetic(other), first)


def test_set_epoch_reaches_the_sampler(data, augment):
    sampler = DistributedSampler(data, num_replicas=2, rank=0)
    AugmentedLoader(DataLoader(data, 16, sampler=sampler), augment).set_epoch(3)
    assert sampler.epoch == 3


def test_two_ranks_together_make_what_one_makes_alone(data, augment):
    rejected = synthetic(AugmentedLoader(DataLoader(data, 16), augment, ratio=1.0, return_mask=True))
    parts = []
    for rank in (0, 1):
        sampler = DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False)
        loader = DataLoader(data, 8, sampler=sampler)
        parts.append(synthetic(AugmentedLoader(loader, augment, ratio=1.0, return_mask=True)))
    together = torch.stack(parts, 1).flatten(0, 1)
    assert (together.int() - rejected.int()).abs().max() <= 1


@pytest.mark.parametrize("policy", ["interpolate", "smote", "slerp", "extrapolate"])
def test_partners_are_sought_in_the_whole_batch(digits, vae, policy):
    images = digits.images[digits.targets == 3][:16]
    loader = AugmentedLoader([images], LatentAugment(vae, policy), ratio=0.0625, return_mask=True)
    made = synthetic(loader)
    assert len(made) == 1  # one row alone would have no reference sample
    assert (made != images).flatten(1).any(1).all()


def test_a_batch_of_one_and_no_pool_is_refused(digits, vae):
    loader = AugmentedLoader([digits.images[:1]], LatentAugment(vae, "smote"), ratio=1.0)
    with pytest.raises(ReferenceSetError, match=r"augment\.fit\(dataset\)"):
        next(iter(loader))


def test_labels_of_policies_that_mix_classes_are_soft_for_all_rows(data, vae):
    augment = LatentAugment(vae, "interpolate(same_class=False, num_classes=10)")
    for images, labels in AugmentedLoader(DataLoader(data, 16), augment, ratio=1.0):
        assert labels.shape == (32, 10)
        assert len(images) == 32
        torch.testing.assert_close(labels.sum(1), torch.ones(32))


def test_batches_without_labels_stay_without(data, augment):
    batches = list(data.tensors[0].split(16))
    for images in AugmentedLoader(batches, augment, ratio=0.5):
        assert images.shape == (24, 1, 8, 8)
    images, mask = next(iter(AugmentedLoader(batches, augment, ratio=0.5, return_mask=True)))
    assert int(mask.sum()) == 8
    assert len(images) == 24


def test_float_batches_stay_float(data, augment):
    images = data.tensors[0][:16].float() / 255
    out = next(iter(AugmentedLoader([images], augment, ratio=1.0)))
    assert out.dtype == torch.float32
    assert torch.equal(out[:16], images)


def test_it_wraps_a_loader_of_float_batches_of_any_iterable(data, augment):
    generator = ((images, labels) for images, labels in DataLoader(data, 16))
    assert sum(len(images) for images, _ in AugmentedLoader(generator, augment, ratio=1.0)) == 2 * COUNT


def test_batches_that_do_not_fit_are_refused(augment):
    with pytest.raises(RangeError, match="AugmentedLoader takes images in"):
        next(iter(AugmentedLoader([torch.full((4, 1, 8, 8), 2.0)], augment)))
    with pytest.raises(ShapeError, match="resize"):
        next(iter(AugmentedLoader([torch.rand(4, 1, 9, 9)], augment, ratio=1.0)))


@pytest.mark.parametrize("ratio", [-1, float("nan"), float("inf")])
def test_ratios_that_are_none_are_refused(data, augment, ratio):
    with pytest.raises(InputError, match="ratio is the number of synthetic samples"):
        AugmentedLoader(DataLoader(data, 16), augment, ratio=ratio)


def test_a_ratio_of_zero_says_that_nothing_happens(data, augment):
    with pytest.warns(AugmentorWarning, match="ratio=0 adds no synthetic samples") as caught:
        loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=0)
    assert len(caught) == 1
    batches = [*loader, *loader]  # a second warning would be an error here
    assert caught[0].filename == __file__
    assert {len(images) for images, _ in batches} == {16}


def test_the_global_generators_are_left_alone(data, augment, global_rng_untouched):
    list(AugmentedLoader([data.tensors], augment))


def test_a_copy_of_the_loader_goes_on_alike(data, augment):
    loader = AugmentedLoader([data.tensors], augment, return_mask=True)
    twin = copy.deepcopy(loader)
    assert torch.equal(synthetic(loader), synthetic(twin))


def test_samplers_are_found_however_deep_they_are(digits, vae):
    inner = DistributedSampler(digits, num_replicas=3, rank=2)
    nested = DataLoader(digits, batch_size=None, sampler=BatchSampler(inner, batch_size=8, drop_last=False))
    loader = AugmentedLoader(nested, LatentAugment(vae))
    loader.set_epoch(5)
    assert inner.epoch == 5
    assert _rank_of(nested) == (2, 3)


class _Shard:
    """As Accelerate wraps a batch sampler."""

    def __init__(self, batch_sampler, process_index):
        self.batch_sampler, self.num_processes, self.process_index = batch_sampler, 2, process_index

    def __iter__(self):
        return iter(list(self.batch_sampler)[self.process_index :: 2])


def test_the_processes_of_accelerate_are_told_apart(digits, vae):
    batches = BatchSampler(range(32), batch_size=8, drop_last=False)
    assert _rank_of(DataLoader(digits, batch_sampler=_Shard(batches, 1))) == (1, 2)


def test_an_epoch_that_is_resumed_goes_on_with_the_same_samples(digits, vae):
    def loader(sampler) -> AugmentedLoader:
        inner = DataLoader(digits, batch_size=None, sampler=BatchSampler(sampler, 10, drop_last=False))
        return AugmentedLoader(Collated(inner), LatentAugment(vae), ratio=0.7, seed=1)

    sampler = BlockSampler(digits, seed=3)
    whole = [images for images, _ in itertools.islice(loader(sampler), 8)]
    resumed = BlockSampler(digits, seed=3)
    resumed.load_state_dict(sampler.state_dict(taken=50))
    rest = [images for images, _ in itertools.islice(loader(resumed), 3)]
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[5:], strict=True))


class Collated:
    """Batches of a loader without collation, as `ShardDataset` gives them."""

    def __init__(self, loader):
        self.loader, self.sampler = loader, loader.sampler

    def __iter__(self):
        for indices in self.sampler:
            items = [self.loader.dataset[index] for index in indices]
            yield torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])


def test_a_sampler_inside_a_batch_sampler_is_told_the_epoch_and_tells_the_rank(digits, vae):
    def loader(rank: int) -> AugmentedLoader:
        sampler = DistributedSampler(digits, num_replicas=2, rank=rank, shuffle=False)
        inner = DataLoader(digits, batch_sampler=BatchSampler(sampler, batch_size=8, drop_last=False))
        return AugmentedLoader(inner, LatentAugment(vae), ratio=1.0)

    first, second = loader(0), loader(1)
    first.set_epoch(5)
    assert first.loader.batch_sampler.sampler.epoch == 5
    # The two ranks see the same images here, so that only their noise can differ.
    first.loader, second.loader = (_SameImages(one.loader.batch_sampler, digits.images[:8]) for one in (first, second))
    second.set_epoch(5)
    assert not torch.equal(next(iter(first)), next(iter(second)))


class _SameImages:
    def __init__(self, batch_sampler, images):
        self.batch_sampler, self.images = batch_sampler, images

    def __iter__(self):
        yield self.images


# --- a gate


def gated(vae, digits, action: str = "redraw", std: float = 1.2) -> LatentAugment:
    return LatentAugment(vae, f"gaussian(std={std})", gate=QualityGate(action=action)).fit(digits)


def test_weights_are_one_for_real_rows_and_the_gates_for_the_others(data, digits, vae):
    loader = AugmentedLoader(
        DataLoader(data, 16), gated(vae, digits, "weigh"), ratio=1.0, return_mask=True, return_weights=True
    )
    synthetic_weights = []
    for images, labels, mask, weights in loader:
        assert len(images) == len(labels) == len(mask) == len(weights) == 32
        assert weights.dtype == torch.float32
        assert (weights[:16] == 1).all()
        assert mask.tolist() == [False] * 16 + [True] * 16  # also where the weight is 0: nothing was left alone
        assert (images[16:] != images[:16]).flatten(1).any(1).all()
        synthetic_weights.append(weights[16:])
    assert 0 <= torch.cat(synthetic_weights).min() < 1 == torch.cat(synthetic_weights).max()


def test_rows_that_the_gate_left_alone_count_as_real(data, digits, vae):
    loader = AugmentedLoader(DataLoader(data, 48), gated(vae, digits), ratio=1.0, return_mask=True, return_weights=True)
    images, _, mask, weights = next(iter(loader))
    same = (images[48:] == images[:48]).flatten(1).all(1)
    assert torch.equal(same, ~mask[48:])
    assert torch.equal(weights[48:], mask[48:].float())
    assert 0 < int(mask.sum()) < 48


def test_without_a_gate_all_weights_are_one(data, augment):
    for *_, weights in AugmentedLoader(DataLoader(data, 16), augment, ratio=0.5, return_weights=True):
        assert torch.equal(weights, torch.ones(24))


@pytest.mark.parametrize("action", ["redraw", "weigh"])
def test_a_gated_sample_does_not_depend_on_the_batch_size(data, digits, vae, action):
    augment = gated(vae, digits, action)
    epochs = []
    for size in (48, 7, 1):
        inner = DataLoader(data, size)
        loader = AugmentedLoader(inner, augment, ratio=0.5, return_weights=True, seed=3)
        behind = [
            (images[len(real) :], weights[len(real) :])
            for (real, _), (images, _, weights) in zip(inner, loader, strict=True)
        ]
        epochs.append([torch.cat(parts) for parts in zip(*behind, strict=True)])
    for images, weights in epochs[1:]:
        assert len(images) == 24
        assert (images.int() - epochs[0][0].int()).abs().max() <= 1
        torch.testing.assert_close(weights, epochs[0][1], atol=0.1, rtol=0)


def test_an_unfitted_gate_asks_for_fit(data, vae):
    loader = AugmentedLoader(DataLoader(data, 16), LatentAugment(vae, gate=QualityGate()), ratio=1.0)
    with pytest.raises(ReferenceSetError, match=r"call augment\.fit\(dataset\)"):
        next(iter(loader))


# ---------------------------------------------------------------------------- with a cache


@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "smote(k=3)", "interpolate(same_class=False)"])
def test_with_a_cache_nothing_is_encoded_and_the_samples_are_the_same(policy, data, digits, vae):
    def batches(dataset, **settings):
        order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1)).tolist()
        augment = LatentAugment(vae, policy).fit(digits)
        return list(AugmentedLoader(DataLoader(dataset, 16, sampler=order), augment, ratio=1.5, **settings))

    expected, cache = batches(data), LatentCache(data, vae)
    calls = []
    vae.encoder.register_forward_hook(lambda *a: calls.append(1))
    for number, (got, want) in enumerate(zip(batches(Indexed(data), cache=cache), expected, strict=True)):
        assert len(got) == 2, number
        assert (got[0].int() - want[0].int()).abs().max() <= 1
        torch.testing.assert_close(got[1], want[1])
    assert len(calls) == -(-len(digits) // 256)  # the fit


def test_items_of_any_structure_are_indexed(digits):
    images, dicts = list(digits.images[:6]), [{"image": image, "label": 3} for image in digits.images[:6]]
    for items, find in ((images, lambda item: item[1]["index"]), (dicts, lambda item: item["index"])):
        indexed = Indexed(items)
        assert [find(indexed[i]) for i in range(6)] == list(range(6))
        loader = AugmentedLoader(
            DataLoader(indexed, 3), LatentAugment("digits"), cache=LatentCache(items, load("digits"))
        )
        assert sum(len(b[0] if isinstance(b, tuple) else b) for b in loader) == 9


def test_a_cache_without_numbers_or_of_another_network_is_refused(data, augment, vae):
    cache = LatentCache(data, vae)
    for batches in (DataLoader(data, 16), [data.tensors[0][:16].float() / 255]):
        with pytest.raises(InputError, match=r"DataLoader\(Indexed\(dataset\)"):
            next(iter(AugmentedLoader(batches, augment, cache=cache)))
    with torch.no_grad():
        next(vae.parameters()).mul_(2)
    with pytest.raises(CacheError, match="another autoencoder; make it anew"):
        AugmentedLoader(DataLoader(Indexed(data), 16), augment, cache=cache)
