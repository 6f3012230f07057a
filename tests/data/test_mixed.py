"""`MixedDataset`: the real samples as they are, then synthetic ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from augmentor import LatentAugment, MixedDataset, QualityGate
from augmentor.data import ArrayDataset, Mixing
from augmentor.exceptions import AugmentorWarning, DataError, InputError


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(40))


@pytest.fixture
def augment(vae) -> LatentAugment:
    return LatentAugment(vae, "gaussian(std=0.5)")


@pytest.mark.parametrize(("ratio", "length"), [(1.0, 80), (2.5, 140), (0.13, 45)])
def test_the_length_is_real_plus_ratio_times_real(few, augment, ratio, length):
    mixed = MixedDataset(few, augment, ratio=ratio)
    assert len(mixed) == length
    assert [mixed.is_synthetic(i) for i in range(len(mixed))] == [False] * 40 + [True] * (length - 40)


@pytest.mark.parametrize("arguments", [{"ratio": 0.01}, {"sampling_strategy": {}}, {"sampling_strategy": "tuned"}])
def test_settings_that_add_nothing_say_so(few, arguments):
    mixing = {"ratio": 0.0, "balance": 0.0}
    augment = LatentAugment.from_config({"autoencoder": "digits", "policy": "smote", "mixing": mixing})
    with pytest.warns(AugmentorWarning, match="adds no synthetic samples") as caught:
        mixed = MixedDataset(few, augment, **arguments)
    assert [warning.filename for warning in caught] == [__file__]
    assert len(mixed) == 40


def test_real_samples_come_first_then_others_with_label_and_type_of_their_source(few, augment, global_rng_untouched):
    mixed = MixedDataset(few, augment, seed=0)
    for index in range(80):
        source = index if index < 40 else int(mixed.sources[index - 40])
        image, label = mixed[index]
        assert label == few[source][1]
        assert (image.dtype, image.shape) == (torch.uint8, (1, 8, 8))
        assert torch.equal(image, few[source][0]) == (index < 40)


def test_every_source_is_used_alike_and_its_draws_are_numbered(few, augment):
    mixed = MixedDataset(few, augment, ratio=2.5)
    counts = np.bincount(mixed.sources, minlength=40)
    assert set(counts.tolist()) == {2, 3}
    pairs = set(zip(mixed.sources.tolist(), mixed.draw_indices.tolist(), strict=True))
    assert len(pairs) == len(mixed.sources) == 100
    assert sorted(set(mixed.draw_indices.tolist())) == [0, 1, 2]


def test_synthetic_samples_of_a_batch_are_decoded_in_one_call(few, augment):
    mixed, calls, decode = MixedDataset(few, augment), [], augment.autoencoder.decode
    augment.autoencoder.decode = lambda z, size=None: calls.append(len(z)) or decode(z, size)
    images, labels = next(iter(DataLoader(mixed, 16, sampler=[1, 50, 2, 60, 70, 3])))
    assert calls == [3]
    assert (images.shape, images.dtype, labels.dtype) == ((6, 1, 8, 8), torch.uint8, torch.int64)
    mixed.__getitems__([0, 1, 2])
    assert calls == [3]


def test_a_sample_depends_on_seed_epoch_and_draw_index_and_the_seed_is_the_transform_s_unless_given(few, vae):
    def rows(mixed):
        return torch.stack([image for image, _ in mixed.__getitems__(range(40, 120))])

    augment = LatentAugment(vae)
    seeded = LatentAugment(copy.deepcopy(vae), p=1.0, seed=1)
    first = MixedDataset(few, augment, seed=1, ratio=2)
    base = rows(first)
    assert torch.equal(rows(MixedDataset(few, seeded, ratio=2)), base)
    assert torch.equal(rows(MixedDataset(few, augment, seed=np.int64(1), ratio=2)), base)
    assert not torch.equal(rows(MixedDataset(few, augment, seed=2, ratio=2)), base)
    first.set_epoch(1)
    assert (rows(first) != base).flatten(1).any(1).all()
    first.set_epoch(0)
    assert torch.equal(rows(first), base)
    twins = np.flatnonzero(first.sources == first.sources[0])
    assert len(twins) == 2
    assert not torch.equal(base[twins[0]], base[twins[1]])


def test_policies_that_need_a_reference_set_are_fitted_on_the_data_set_unless_they_are(few, digits, vae):
    augment = LatentAugment(vae, "smote(k=2)")
    mixed = MixedDataset(few, augment)
    assert len(augment.reference) == 40
    assert not torch.equal(mixed[45][0], few[int(mixed.sources[5])][0])
    MixedDataset(digits, augment)
    assert len(augment.reference) == 40


def test_labels_of_policies_that_mix_classes_are_soft_everywhere(few, vae):
    mixed = MixedDataset(few, LatentAugment(vae, "interpolate(same_class=False)"))
    _, labels = next(iter(DataLoader(mixed, 80)))
    assert labels.shape == (80, 10)
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels.sum(1), torch.ones(80))
    assert torch.equal(labels[:40].argmax(1), few.targets)
    assert (labels[:40].max(1).values == 1).all()
    assert (labels[40:].max(1).values < 1).any()


STRUCTURES = {
    "pil": lambda image, label, index: (Image.fromarray(image[0].numpy()), label),
    "float": lambda image, label, index: (image / 255, label),
    "tv_tensor": lambda image, label, index: (tv_tensors.Image(image), label),
    "triple": lambda image, label, index: (image, label, f"{index}.png"),
    "list": lambda image, label, index: [image, label],
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_items_keep_their_structure(few, augment, structure):
    items = [STRUCTURES[structure](*few[index], index) for index in range(10)]
    mixed = MixedDataset(items, augment)
    source, made = items[mixed.sources[3]], mixed[13]
    assert type(made) is type(source)
    assert type(made[0]) is type(source[0])
    assert getattr(made[0], "dtype", None) == getattr(source[0], "dtype", None)
    assert made[1:] == source[1:]


def test_images_alone_and_dicts_are_items_too(few, augment):
    assert MixedDataset(list(few.images[:4]), augment)[5].shape == (1, 8, 8)
    items = [{"index": int(few.targets[i]), "label": int(few.targets[i]), "pixels": few[i][0]} for i in range(20)]
    mixed = MixedDataset(items, augment)
    source, made = items[mixed.sources[3]], mixed[23]
    assert {**made, "pixels": None} == {**source, "pixels": None}
    assert not torch.equal(made["pixels"], source["pixels"])
    soft = LatentAugment(augment.autoencoder, "interpolate(same_class=False, num_classes=10)")
    for item in MixedDataset(items, soft).__getitems__([3, 23]):
        assert isinstance(item["index"], int)  # also where it equals the label
        assert item["label"].shape == (10,)


def test_negative_indices_count_from_the_end_and_others_are_refused(few, augment):
    mixed = MixedDataset(few, augment, seed=0)
    assert torch.equal(mixed[-1][0], mixed[79][0])
    assert mixed.is_synthetic(-1)
    for index in (80, -81):
        with pytest.raises(IndexError, match="outside a MixedDataset of 80 samples"):
            mixed[index]


def test_arguments_that_do_not_fit_are_refused(few, augment, vae):
    for ratio in (-0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="ratio"):
            MixedDataset(few, augment, ratio=ratio)
    with pytest.raises(InputError, match="leave ratio out"):
        MixedDataset(few, augment, ratio=0.5, sampling_strategy="auto")
    with pytest.raises(DataError, match="empty"):
        MixedDataset([], augment)
    with pytest.raises(InputError, match=r"LatentAugment\.from_config\('policy\.json'\)"):
        MixedDataset(few, augment, sampling_strategy="tuned")
    with pytest.raises(InputError, match=r"use QualityGate\(action='redraw'\), or AugmentedLoader"):
        MixedDataset(few, LatentAugment(vae, gate=QualityGate(action="weigh")))


# --- a gate, and mixing that was tuned


def test_a_rejected_sample_is_the_original(few, vae):
    mixed = MixedDataset(few, LatentAugment(vae, "gaussian(std=9)", gate=QualityGate(redraws=0)))
    assert len(mixed.augment.reference) == 40  # the gate is fitted on the data set
    items = mixed.__getitems__(range(40, 80))
    assert (mixed.augment.gate.counts.samples, mixed.augment.gate.counts.passed) == (40, 0)
    for source, (image, label) in zip(mixed.sources.tolist(), items, strict=True):
        assert torch.equal(image, few[source][0])
        assert label == few[source][1]


def test_workers_make_the_same_gated_samples(few, vae):
    mixed = MixedDataset(few, LatentAugment(vae, "gaussian(std=1.2)", gate=QualityGate()), seed=3)
    here = torch.stack([image for image, _ in mixed.__getitems__(range(80))])
    counts = mixed.augment.gate.counts
    assert 0 < counts.passed < counts.samples < counts.drawn  # all that a gate does has happened
    loader = DataLoader(mixed, 5, num_workers=2, multiprocessing_context="fork")
    assert (torch.cat([images for images, _ in loader]).int() - here.int()).abs().max() <= 1


def test_classes_are_filled_up_as_a_strategy_or_the_config_says(digits):
    rows = [torch.nonzero(digits.targets == label)[:count, 0] for label, count in ((0, 12), (1, 6), (2, 3))]
    data = digits.subset(torch.cat(rows))
    filled = MixedDataset(data, LatentAugment("digits", "gaussian"), sampling_strategy="auto")
    assert torch.tensor([label for _, label in filled.__getitems__(range(36))]).bincount().tolist() == [12, 12, 12]
    document = {"autoencoder": "digits", "policy": "gaussian", "mixing": {"ratio": 0.5, "balance": 0.5}}
    tuned = MixedDataset(data, LatentAugment.from_config(document), sampling_strategy="tuned")
    said = MixedDataset(data, LatentAugment("digits", "gaussian"), sampling_strategy=Mixing(0.5, 0.5))
    for mixed in (tuned, said):
        labels = torch.tensor([label for _, label in mixed.__getitems__(range(len(mixed)))])
        synthetic = torch.tensor([mixed.is_synthetic(i) for i in range(len(mixed))])
        assert labels[~synthetic].bincount().tolist() == [12, 9, 7]
        assert labels[synthetic].bincount().tolist() == [6, 4, 4]


def test_what_a_mixing_oversamples_is_real(digits, augment):
    data = digits.subset(torch.arange(15))
    mixed = MixedDataset(data, augment, sampling_strategy=Mixing(ratio=0.0, balance=1.0))
    assert len(mixed) > len(data)
    for place in range(len(data), len(mixed)):
        assert not mixed.is_synthetic(place)
        image, label = mixed[place]
        source = int(mixed.sources[place - len(data)])
        assert torch.equal(image, data[source][0])
        assert label == data[source][1]
