"""`AugmentedLoader`: each batch with synthetic samples behind the real ones."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, TensorDataset

from augmentor import AugmentedLoader, LatentAugment, LatentCache, QualityGate, load_autoencoder
from augmentor.autoencoders import ConvVAE
from augmentor.data import BlockSampler, Indexed
from augmentor.exceptions import AugmentorWarning, CacheError, InputError, RangeError, ShapeError

COUNT = 48


@pytest.fixture
def data(digits) -> TensorDataset:
    return TensorDataset(digits.images[:COUNT], digits.targets[:COUNT])


@pytest.fixture
def augment(vae) -> LatentAugment:
    return LatentAugment(vae, "gaussian(std=0.5)")


def synthetic(batches, augment: LatentAugment, epoch: int = 0, *, seed=0, **arguments) -> torch.Tensor:
    """All synthetic images of one epoch."""
    loader = AugmentedLoader(batches, augment, return_mask=True, seed=seed, **arguments)
    loader.set_epoch(epoch)
    return torch.cat([images[mask] for images, *_, mask in loader])


def changed(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Which rows differ, bool (B,)."""
    return (images != others).flatten(1).any(1)


def within_a_level(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a.int() - b.int()).abs().max() <= 1)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_batch_is_its_real_rows_untouched_then_ratio_times_as_many(data, augment, ratio):
    real, more = DataLoader(data, 16), {"return_mask": True, "return_weights": True}
    loader = AugmentedLoader(real, augment, ratio=ratio, **more)
    assert len(loader) == 3
    for (images, labels, mask, weights), (given, targets) in zip(loader, real, strict=True):
        assert len(images) == len(labels) == 16 + 16 * ratio
        assert torch.equal(images[:16], given)
        assert torch.equal(labels[:16], targets)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert mask.tolist() == [False] * 16 + [True] * int(16 * ratio)
        assert torch.equal(weights, torch.ones(len(images)))  # without a gate


def test_synthetic_labels_are_those_of_their_sources(data, augment):
    for images, labels in AugmentedLoader(DataLoader(data, 16), augment, ratio=2.0):
        assert torch.equal(labels[16:], labels[:16].repeat_interleave(2))
        assert changed(images[16:], images[:16].repeat_interleave(2, 0)).all()


@pytest.mark.parametrize(("ratio", "batch_size"), [(0.1, 1), (0.77, 7), (1.5, 7)])
def test_the_total_of_an_epoch_is_exact_within_one(data, augment, ratio, batch_size):
    for epoch in range(3):
        made = synthetic(DataLoader(data, batch_size), augment, epoch, ratio=ratio)
        assert abs(len(made) - ratio * COUNT) < 1


def test_every_image_has_its_turn_over_the_epochs(data, augment):
    loader = AugmentedLoader([(data.tensors[0], torch.arange(COUNT))], augment, ratio=0.5)
    sources = torch.cat([labels[COUNT:] for _ in range(20) for _, labels in loader])
    assert len(sources) == 20 * COUNT / 2
    assert sources.bincount(minlength=COUNT).min() > 0


@pytest.mark.parametrize(("policy", "ratio"), [("gaussian(std=0.5)", 1.5), ("smote(k=3)", 0.3)])
def test_a_sample_does_not_depend_on_the_batch_size(data, digits, vae, policy, ratio):
    augment = LatentAugment(vae, policy).fit(digits)
    whole, *others = (synthetic(DataLoader(data, size), augment, ratio=ratio, seed=3) for size in (48, 7, 1))
    assert all(within_a_level(other, whole) for other in others)


def test_each_epoch_differs_unless_it_is_set_again(data, augment, global_rng_untouched):
    loader = AugmentedLoader([data.tensors], augment, ratio=1.0, seed=0)
    first, second = (next(iter(loader))[0][COUNT:] for _ in range(2))
    assert loader.epoch == 1
    assert changed(first, second).all()
    loader.set_epoch(0)
    assert torch.equal(next(iter(loader))[0][COUNT:], first)
    assert torch.equal(synthetic([data.tensors], augment, 1, ratio=1.0), second)
    assert not torch.equal(synthetic([data.tensors], augment, ratio=1.0, seed=1), first)


def test_reference_samples_are_those_of_the_whole_batch(digits, vae):
    images = digits.images[digits.targets == 3][:16]
    made = synthetic([images], LatentAugment(vae, "interpolate"), ratio=0.0625)
    assert len(made) == 1  # one row alone would have no reference sample
    assert changed(made, images).all()


def test_labels_of_policies_that_mix_classes_are_soft_for_all_rows(data, vae):
    augment = LatentAugment(vae, "interpolate(same_class=False, num_classes=10)")
    for images, labels in AugmentedLoader(DataLoader(data, 16), augment, ratio=1.0):
        assert labels.shape == (32, 10)
        assert len(images) == 32
        torch.testing.assert_close(labels.sum(1), torch.ones(32))


def test_any_iterable_will_do_of_batches_without_labels_or_of_floats(data, augment):
    levels = data.tensors[0]
    assert [len(images) for images in AugmentedLoader(iter(levels.split(16)), augment, ratio=0.5)] == [24] * 3
    images, mask = next(iter(AugmentedLoader([levels[:16]], augment, ratio=0.5, return_mask=True)))
    assert (len(images), int(mask.sum())) == (24, 8)
    out = next(iter(AugmentedLoader([levels[:16] / 255], augment)))
    assert out.dtype == torch.float32
    assert torch.equal(out[:16], levels[:16] / 255)


def test_batches_and_ratios_that_do_not_fit_are_refused(data, augment):
    for batch, error in ((torch.full((4, 1, 8, 8), 2.0), RangeError), (torch.rand(4, 1, 9, 9), ShapeError)):
        with pytest.raises(error):
            next(iter(AugmentedLoader([batch], augment)))
    for ratio in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="ratio"):
            AugmentedLoader(DataLoader(data, 16), augment, ratio=ratio)


def test_a_ratio_of_zero_says_that_nothing_happens(data, augment):
    with pytest.warns(AugmentorWarning, match="ratio=0 adds no synthetic samples") as caught:
        loader = AugmentedLoader(DataLoader(data, 16), augment, ratio=0)
    assert [warning.filename for warning in caught] == [__file__]
    assert {len(images) for images, _ in [*loader, *loader]} == {16}  # a second warning would be an error here


def test_without_a_seed_noise_is_drawn_anew_and_a_manual_seed_repeats_it(data, vae):
    def made(augment: LatentAugment, **arguments) -> torch.Tensor:
        return synthetic([data.tensors], augment, ratio=1.0, seed=None, **arguments)

    drawn, seeded = LatentAugment(vae, "gaussian"), LatentAugment(vae, "gaussian", seed=3)
    torch.manual_seed(0)
    first, second = made(drawn), made(drawn)
    torch.manual_seed(0)
    assert torch.equal(made(drawn), first)
    assert changed(first, second).all()
    assert torch.equal(made(seeded), synthetic([data.tensors], drawn, ratio=1.0, seed=3))  # the transform's own


def test_a_p_that_would_be_ignored_is_refused(data, vae):
    with pytest.raises(InputError, match=r"AugmentedLoader .* p=0\.3"):
        AugmentedLoader(DataLoader(data, 16), LatentAugment(vae, p=0.3))


# --- what batches hold, and how


def test_a_dict_stays_a_dict_and_other_entries_are_those_of_the_sources(data, augment):
    items = [
        {"pixels": image, "labels": label, "number": i, "name": f"{i}.png", "more": {"size": torch.ones(2) * i}}
        for i, (image, label) in enumerate(data)
    ]
    arguments = {"ratio": 0.5, "return_mask": True, "return_weights": True}
    for batch in AugmentedLoader(DataLoader(items, 16), augment, **arguments):
        assert list(batch) == [*items[0], "is_synthetic", "weights"]
        assert len(batch["pixels"]) == 24
        numbers = batch["number"]
        assert torch.equal(batch["labels"], data.tensors[1][numbers])
        assert batch["name"] == [f"{i}.png" for i in numbers]
        assert torch.equal(batch["more"]["size"][:, 0].long(), numbers)
        unlike = changed(batch["pixels"], data.tensors[0][numbers])
        assert torch.equal(unlike, batch["is_synthetic"])
        assert batch["weights"].shape == (24,)


def test_a_tuple_keeps_what_stands_behind_the_label(data, augment):
    items = TensorDataset(*data.tensors, torch.arange(COUNT))
    for images, labels, numbers in AugmentedLoader(DataLoader(items, 16), augment, ratio=0.5):
        assert len(images) == 24
        assert torch.equal(labels, data.tensors[1][numbers])


@pytest.mark.parametrize("beside", [torch.zeros(COUNT, 1, 8, 8), torch.zeros(COUNT, 8, 8, dtype=torch.uint8)])
def test_a_mask_or_a_second_image_is_refused_as_it_would_not_fit(data, augment, beside):
    with pytest.raises(InputError, match="a mask or another image"):
        next(iter(AugmentedLoader([[*data.tensors, beside]], augment)))


def test_what_has_no_row_for_each_image_is_refused(data, augment):
    with pytest.raises(InputError, match="remove this field in the collate_fn"):
        next(iter(AugmentedLoader([[*data.tensors, [torch.zeros(3, 4)] * COUNT]], augment)))


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("precision", ["fp32", "fp32+channels_last"])
def test_batches_keep_their_memory_format(memory_format, precision):
    augment = LatentAugment(ConvVAE((3, 8, 8), latent_dim=4, width=8), "gaussian", precision=precision)
    images = torch.rand(4, 3, 8, 8).contiguous(memory_format=memory_format)
    (out,) = AugmentedLoader([images], augment)
    assert out.shape == (6, 3, 8, 8)
    assert out.is_contiguous(memory_format=memory_format)


def test_a_row_without_a_partner_counts_as_real(digits, vae):
    labels = torch.tensor([0, 0, 1, -1])
    augment = LatentAugment(vae, "interpolate")
    with pytest.warns(AugmentorWarning, match="no partner"):
        ((images, _, mask),) = AugmentedLoader([(digits.images[:4], labels)], augment, ratio=1.0, return_mask=True)
    assert mask.tolist() == [False] * 4 + [True, True, False, False]
    assert torch.equal(changed(images[4:], images[:4]), mask[4:])


# --- the loader inside


def test_attributes_are_those_of_the_loader_inside(data, augment):
    real = DataLoader(data, 16, drop_last=True, num_workers=1, persistent_workers=True, pin_memory=False)
    loader = AugmentedLoader(real, augment)
    for copied in (loader, copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        for name in ("batch_size", "drop_last", "num_workers", "pin_memory", "persistent_workers", "timeout"):
            assert getattr(copied, name) == getattr(copied.loader, name) == getattr(real, name)
        for name in ("dataset", "sampler", "batch_sampler", "collate_fn"):
            assert getattr(copied, name) is getattr(copied.loader, name)
        with pytest.raises(AttributeError, match="samplers"):
            _ = copied.samplers
    assert not hasattr(AugmentedLoader([data.tensors], augment), "dataset")


class Pictures(Dataset):
    """What timm takes: PIL images, and a `transform` that it sets."""

    transform = None

    def __init__(self, digits):
        self.images, self.targets = digits.images[:COUNT], digits.targets[:COUNT].tolist()

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), self.targets[index]


@pytest.mark.slow
def test_the_prefetcher_of_timm_normalises_what_comes_out(digits, augment):
    from timm.data import create_loader

    prefetcher = create_loader(
        Pictures(digits), (1, 8, 8), 16, is_training=True, no_aug=True, mean=(0.5,), std=(0.25,), num_workers=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    inside = prefetcher.loader
    prefetcher.loader = AugmentedLoader(inside, augment, ratio=1.0)
    assert (prefetcher.sampler, prefetcher.dataset, len(prefetcher)) == (inside.sampler, inside.dataset, 3)
    assert not prefetcher.mixup_enabled
    for images, labels in prefetcher:
        assert images.shape == (32, 1, 8, 8)
        assert images.min() < -1.9
        assert 1.9 < images.max() <= 2
        assert torch.equal(labels[16:], labels[:16])


@pytest.mark.slow
def test_accelerate_says_at_the_last_batch_that_it_is_the_last(data, augment, monkeypatch):
    from accelerate import Accelerator

    def ahead(batches, device):  # as on CUDA, where the next batch is made beside the step on the last one
        waiting = next(batches)
        for batch in batches:
            yield waiting
            waiting = batch
        yield waiting

    monkeypatch.setattr("augmentor.data.loader.ahead", ahead)
    accelerator = Accelerator(cpu=True)
    loader = AugmentedLoader(accelerator.prepare(DataLoader(data, 16)), augment)
    assert [accelerator.gradient_state.end_of_dataloader for _ in loader] == [False, False, True]


# --- samplers


class AsAccelerate:
    """As Accelerate gives each process its part of a batch sampler."""

    def __init__(self, batch_sampler, process_index):
        self.batch_sampler, self.num_processes, self.process_index = batch_sampler, 2, process_index

    def __iter__(self):
        return iter(list(self.batch_sampler)[self.process_index :: 2])


class OneBatch:
    """The same batch of images to all ranks, with a sampler that tells the rank."""

    def __init__(self, images, **samplers):
        self.images = images
        vars(self).update(samplers)

    def __iter__(self):
        yield self.images


def of_torch(data, rank):
    return {"sampler": DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False)}


def nested(data, rank):
    return {"batch_sampler": BatchSampler(of_torch(data, rank)["sampler"], batch_size=8, drop_last=False)}


def of_accelerate(data, rank):
    return {"batch_sampler": AsAccelerate(BatchSampler(range(COUNT), batch_size=8, drop_last=False), rank)}


@pytest.mark.parametrize("samplers", [of_torch, nested, of_accelerate])
def test_a_sampler_however_deep_tells_the_rank_which_enters_the_noise(data, augment, samplers):
    batch = data.tensors[0][:8]
    made = [synthetic([batch.repeat_interleave(2, 0)], augment, ratio=1.0)[rank::2] for rank in (0, 1)]
    for rank in (0, 1):  # the k-th image of rank r of 2 has place 2k + r
        assert within_a_level(synthetic(OneBatch(batch, **samplers(data, rank)), augment, ratio=1.0), made[rank])
    assert changed(made[0], made[1]).all()


@pytest.mark.parametrize("samplers", [of_torch, nested])
def test_set_epoch_reaches_a_sampler_however_deep(data, augment, samplers):
    given = samplers(data, 0)
    AugmentedLoader(OneBatch(data.tensors[0], **given), augment).set_epoch(5)
    (sampler,) = given.values()
    while not isinstance(sampler, DistributedSampler):
        sampler = sampler.sampler
    assert sampler.epoch == 5


def test_an_epoch_that_is_resumed_goes_on_with_the_same_samples(digits, augment):
    def some(sampler, batches: int) -> list[torch.Tensor]:
        loader = AugmentedLoader(DataLoader(digits, 10, sampler=sampler), augment, ratio=0.7, seed=1)
        return [images for images, _ in itertools.islice(loader, batches)]

    sampler, resumed = BlockSampler(digits, seed=3), BlockSampler(digits, seed=3)
    whole = some(sampler, 8)
    resumed.load_state_dict(sampler.state_dict(taken=50))
    assert all(torch.equal(a, b) for a, b in zip(some(resumed, 3), whole[5:], strict=True))


# --- a gate


def gated(vae, digits, action: str = "redraw") -> LatentAugment:
    augment = LatentAugment(vae, "gaussian(std=1.2)", gate=QualityGate(action=action))
    return augment.fit(digits.subset(torch.arange(400)))


def test_weights_are_one_for_real_rows_and_the_gate_s_for_the_others(data, digits, vae):
    augment = gated(vae, digits, "weigh")
    loader = AugmentedLoader(DataLoader(data, 48), augment, ratio=1.0, return_mask=True, return_weights=True)
    ((images, _, mask, weights),) = loader
    assert weights.dtype == torch.float32
    assert (weights[:48] == 1).all()
    assert mask.tolist() == [False] * 48 + [True] * 48  # also where the weight is 0: nothing was rejected
    assert changed(images[48:], images[:48]).all()
    assert 0 <= weights[48:].min() < 1 == weights[48:].max()


def test_a_gated_sample_does_not_depend_on_the_batch_size(data, digits, vae):
    augment, epochs = gated(vae, digits), []
    for size in (48, 7):
        loader = AugmentedLoader(DataLoader(data, size), augment, ratio=1.0, return_weights=True, seed=3)
        behind = [(images[len(images) // 2 :], weights[len(images) // 2 :]) for images, _, weights in loader]
        epochs.append([torch.cat(parts) for parts in zip(*behind, strict=True)])
    (images, weights), (others, their_weights) = epochs
    assert within_a_level(images, others)
    assert torch.equal(weights, their_weights)
    assert torch.equal(changed(images, data.tensors[0]), weights > 0)  # a rejected row is its original
    assert 0 < int(weights.sum()) < 48


# --- a cache


@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "interpolate(same_class=False)"])
def test_with_a_cache_nothing_is_encoded_and_the_samples_are_the_same(policy, data, digits, vae):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1)).tolist()
    augment, cache = LatentAugment(vae, policy).fit(digits), LatentCache(data, vae)
    expected = list(AugmentedLoader(DataLoader(data, 16, sampler=order), augment, ratio=1.5, seed=0))
    vae.encoder.register_forward_hook(lambda *_: pytest.fail("an image was encoded"))
    indexed = DataLoader(Indexed(data), 16, sampler=order)
    for got, want in zip(AugmentedLoader(indexed, augment, ratio=1.5, cache=cache, seed=0), expected, strict=True):
        assert len(got) == 2
        assert within_a_level(got[0], want[0])
        torch.testing.assert_close(got[1], want[1])


def test_items_of_any_structure_are_indexed(digits):
    images, dicts = list(digits.images[:6]), [{"image": image, "label": 3} for image in digits.images[:6]]
    for items, find, image in (
        (images, lambda item: item[1]["index"], lambda batch: batch),
        (dicts, lambda item: item["index"], lambda batch: batch["image"]),
    ):
        indexed, cache = Indexed(items), LatentCache(items, load_autoencoder("digits"))
        assert [find(indexed[i]) for i in range(6)] == list(range(6))
        loader = AugmentedLoader(DataLoader(indexed, 3), LatentAugment("digits"), cache=cache)
        assert sum(len(image(batch)) for batch in loader) == 9


def test_a_cache_without_numbers_or_of_another_network_is_refused(data, augment, vae):
    cache = LatentCache(data, vae)
    for batches in (DataLoader(data, 16), [data.tensors[0][:16].float() / 255]):
        with pytest.raises(InputError, match=r"DataLoader\(Indexed\(dataset\)"):
            next(iter(AugmentedLoader(batches, augment, cache=cache)))
    with torch.no_grad():
        next(vae.parameters()).mul_(2)
    with pytest.raises(CacheError, match="another autoencoder"):
        AugmentedLoader(DataLoader(Indexed(data), 16), augment, cache=cache)
