"""`MixedDataset`: the real samples as they are, then synthetic ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision import tv_tensors

from augmentor.data import ArrayDataset, MixedDataset, Mixing
from augmentor.exceptions import AugmentorWarning, DataError, InputError, ReferenceSetError
from augmentor.quality import QualityGate
from augmentor.transform import LatentAugment


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(40))


@pytest.fixture
def augment(vae) -> LatentAugment:
    return LatentAugment(vae, "gaussian(std=0.5)")


class Items:
    """Items of any structure."""

    def __init__(self, items, **attributes):
        self.items = items
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize(("ratio", "length"), [(1.0, 80), (0.5, 60), (0.01, 40), (2.5, 140), (0.13, 45)])
def test_the_length_is_real_plus_ratio_times_real(few, augment, ratio, length):
    if length == 40:
        with pytest.warns(AugmentorWarning, match=f"ratio={ratio} adds no synthetic samples"):
            mixed = MixedDataset(few, augment, ratio=ratio)
    else:
        mixed = MixedDataset(few, augment, ratio=ratio)
    assert len(mixed) == length
    assert [mixed.is_synthetic(i) for i in range(len(mixed))] == [False] * 40 + [True] * (length - 40)


def test_real_samples_come_first_and_untouched(few, augment):
    mixed = MixedDataset(few, augment)
    for index in (0, 7, 39):
        image, label = mixed[index]
        assert torch.equal(image, few[index][0])
        assert label == few[index][1]


def test_synthetic_samples_have_the_label_and_type_of_their_source(few, augment):
    mixed = MixedDataset(few, augment)
    for index in range(40, 80):
        source = int(mixed.sources[index - 40])
        image, label = mixed[index]
        assert label == few[source][1]
        assert image.dtype == torch.uint8
        assert image.shape == (1, 8, 8)
        assert not torch.equal(image, few[source][0])


def test_every_source_is_used_alike_and_copies_are_numbered(few, augment):
    mixed = MixedDataset(few, augment, ratio=2.5)
    counts = np.bincount(mixed.sources, minlength=40)
    assert set(counts.tolist()) == {2, 3}
    pairs = set(zip(mixed.sources.tolist(), mixed.draw_indices.tolist(), strict=True))
    assert len(pairs) == len(mixed.sources) == 100
    assert sorted(set(mixed.draw_indices.tolist())) == [0, 1, 2]


def test_one_at_a_time_is_the_same_as_many_at_a_time(few, augment):
    mixed = MixedDataset(few, augment, seed=3)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0)).tolist()
    together = mixed.__getitems__(order)
    for index, (image, label) in zip(order, together, strict=True):
        rejected = mixed[index]
        assert rejected[1] == label
        assert (rejected[0].int() - image.int()).abs().max() <= 1


def test_synthetic_samples_of_a_batch_are_decoded_in_one_call(few, augment, monkeypatch):
    mixed = MixedDataset(few, augment)
    calls = []
    decode = augment.autoencoder.decode
    monkeypatch.setattr(augment.autoencoder, "decode", lambda z, size=None: calls.append(len(z)) or decode(z, size))
    batch = next(iter(DataLoader(mixed, 16, sampler=[1, 50, 2, 60, 70, 3])))
    assert calls == [3]
    assert batch[0].shape == (6, 1, 8, 8)
    mixed.__getitems__([0, 1, 2])
    assert calls == [3]


def test_other_seeds_epochs_and_copies_are_other_samples(few, vae):
    first = MixedDataset(few, LatentAugment(vae), seed=1, ratio=2)
    again = MixedDataset(few, LatentAugment(copy.deepcopy(vae)), seed=1, ratio=2)
    other = MixedDataset(few, LatentAugment(copy.deepcopy(vae)), seed=2, ratio=2)

    def rows(mixed):
        return torch.stack([image for image, _ in mixed.__getitems__(range(40, 120))])

    base = rows(first)
    assert torch.equal(rows(again), base)
    assert not torch.equal(rows(other), base)
    first.set_epoch(1)
    moved = rows(first)
    assert (moved != base).flatten(1).any(1).all()
    first.set_epoch(0)
    assert torch.equal(rows(first), base)
    source = int(first.sources[0])
    twins = np.flatnonzero(first.sources == source)
    assert len(twins) == 2
    assert not torch.equal(base[twins[0]], base[twins[1]])


def test_the_transforms_own_chance_and_seed_play_no_part(few, vae):
    plain = MixedDataset(few, LatentAugment(vae, p=0.5, seed=None), seed=1)
    with pytest.warns(AugmentorWarning):
        idle = LatentAugment(copy.deepcopy(vae), p=0.0, seed=9)
    assert torch.equal(plain[60][0], MixedDataset(few, idle, seed=1)[60][0])


@pytest.mark.parametrize(
    ("strategy", "totals"),
    [("auto", [12, 12, 12]), ({1: 9}, [12, 9, 3]), (lambda labels: {2: 30}, [12, 6, 30])],
    ids=["auto", "dict", "callable"],
)
def test_a_sampling_strategy_fills_classes_up(digits, augment, strategy, totals):
    rows = [torch.nonzero(digits.targets == label)[:count, 0] for label, count in ((0, 12), (1, 6), (2, 3))]
    mixed = MixedDataset(digits.subset(torch.cat(rows)), augment, sampling_strategy=strategy)
    labels = torch.tensor([label for _, label in mixed.__getitems__(range(len(mixed)))])
    assert labels.bincount().tolist() == totals


def test_a_strategy_with_nothing_to_add_says_so(few, augment):
    even = few.subset(torch.stack([torch.nonzero(few.targets == label)[0, 0] for label in range(5)]))
    with pytest.warns(AugmentorWarning, match="sampling_strategy='auto' adds no synthetic"):
        assert len(MixedDataset(even, augment, sampling_strategy="auto")) == 5


def test_policies_with_partners_are_fitted_on_the_data_set(few, vae):
    augment = LatentAugment(vae, "smote(k=2)")
    mixed = MixedDataset(few, augment)
    assert len(augment.reference) == 40
    assert not torch.equal(mixed[45][0], few[int(mixed.sources[5])][0])
    lonely = few.subset(torch.tensor([0, 1, 2]))
    with pytest.raises(ReferenceSetError, match="needs 2 samples of each class"):
        MixedDataset(lonely, LatentAugment(copy.deepcopy(vae), "smote"))


def test_a_pool_that_is_fitted_already_is_kept(few, digits, vae):
    augment = LatentAugment(vae, "smote").fit(digits)
    MixedDataset(few, augment)
    assert len(augment.reference) == len(digits)


def test_labels_of_policies_that_mix_classes_are_soft_everywhere(few, vae):
    mixed = MixedDataset(few, LatentAugment(vae, "interpolate(same_class=False)"))
    _, labels = next(iter(DataLoader(mixed, 80)))
    assert labels.shape == (80, 10)
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels.sum(1), torch.ones(80))
    assert torch.equal(labels[:40].argmax(1), few.targets)
    assert (labels[:40].max(1).values == 1).all()
    assert (labels[40:].max(1).values < 1).any()


def test_a_loader_collates_real_and_synthetic_samples_together(few, augment):
    images, labels = next(iter(DataLoader(MixedDataset(few, augment), 80, shuffle=False)))
    assert images.shape == (80, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("kind", ["pil", "float", "tv_tensor", "image only", "dict", "triple", "list"])
def test_items_keep_their_structure(few, augment, kind):
    def item(index):
        image, label = few[index]
        return {
            "pil": (Image.fromarray(image[0].numpy()), label),
            "float": (image / 255, label),
            "tv_tensor": (tv_tensors.Image(image), label),
            "image only": image,
            "dict": {"pixels": image, "label": label, "index": index},
            "triple": (image, label, f"{index}.png"),
            "list": [image, label],
        }[kind]

    mixed = MixedDataset(Items([item(i) for i in range(10)]), augment)
    real, made = mixed[3], mixed[13]
    source = int(mixed.sources[3])
    assert type(made) is type(real)
    if kind == "dict":
        assert made["index"] == source
        assert made["label"] == few[source][1]
        assert not torch.equal(made["pixels"], few[source][0])
    elif kind == "image only":
        assert made.shape == (1, 8, 8)
    else:
        assert type(made[0]) is type(real[0])
        assert made[1] == few[source][1]
        assert made[2:] == ((f"{source}.png",) if kind == "triple" else made[2:])
    if kind == "float":
        assert made[0].dtype == torch.float32


def test_an_index_equal_to_the_label_stays_a_number_when_labels_turn_soft(few, vae):
    items = [{"index": int(few.targets[i]), "label": int(few.targets[i]), "image": few[i][0]} for i in range(20)]
    augment = LatentAugment(vae, "interpolate(same_class=False)")
    mixed = MixedDataset(Items(items, classes=few.classes), augment)
    for item in (mixed[3], mixed[23]):
        assert isinstance(item["index"], int)
        assert item["label"].shape == (10,)


def test_it_wraps_a_subset(few, augment):
    mixed = MixedDataset(Subset(few, range(5, 15)), augment, sampling_strategy={int(few.targets[5]): 4})
    assert torch.equal(mixed[0][0], few[5][0])
    assert mixed[len(mixed) - 1][1] == few[5][1]


def test_negative_indices_count_from_the_end_and_others_are_refused(few, augment):
    mixed = MixedDataset(few, augment)
    assert torch.equal(mixed[-1][0], mixed[79][0])
    assert mixed.is_synthetic(-1)
    for index in (80, -81):
        with pytest.raises(IndexError, match="outside a MixedDataset of 80 samples"):
            mixed[index]


@pytest.mark.parametrize("ratio", [-0.5, float("nan"), float("inf")])
def test_ratios_that_are_none_are_refused(few, augment, ratio):
    with pytest.raises(InputError, match="ratio is the number of synthetic samples"):
        MixedDataset(few, augment, ratio=ratio)


def test_an_empty_data_set_is_refused(augment):
    with pytest.raises(DataError, match="empty"):
        MixedDataset(Items([]), augment)


def test_a_ratio_of_zero_says_that_nothing_happens(few, augment):
    with pytest.warns(AugmentorWarning, match="ratio=0 adds no synthetic samples") as caught:
        MixedDataset(few, augment, ratio=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_numpy_integers_serve_as_seed_and_index(few, vae):
    of_numpy = MixedDataset(few, LatentAugment(vae), seed=np.int64(3))
    of_python = MixedDataset(few, LatentAugment(copy.deepcopy(vae)), seed=3)
    assert torch.equal(of_numpy[np.int64(50)][0], of_python[50][0])


def test_the_global_generators_are_left_alone(few, vae, global_rng_untouched):
    mixed = MixedDataset(few, LatentAugment(vae, "smote"))
    mixed.__getitems__(range(80))


def test_ratio_beside_a_sampling_strategy_is_refused(digits, vae):
    with pytest.raises(InputError, match="leave ratio out"):
        MixedDataset(digits, LatentAugment(vae), ratio=0.5, sampling_strategy="auto")


# --- a gate, and mixing that was tuned


def all_of(mixed: MixedDataset, workers: int = 0, context: str | None = None, batch_size: int = 7) -> torch.Tensor:
    loader = DataLoader(mixed, batch_size, num_workers=workers, multiprocessing_context=context)
    return torch.cat([images for images, _ in loader])


def test_a_gate_is_fitted_on_the_data_set(few, vae):
    augment = LatentAugment(vae, "gaussian(std=0.5)", gate=QualityGate())
    mixed = MixedDataset(few, augment)
    assert len(augment.reference) == 40
    mixed.__getitems__(range(80))
    assert augment.gate.counts.samples == 40


def test_an_image_that_the_gate_leaves_alone_comes_out_as_it_is(few, vae):
    mixed = MixedDataset(few, LatentAugment(vae, "gaussian(std=9)", gate=QualityGate(redraws=0)))
    items = mixed.__getitems__(range(40, 80))
    assert mixed.augment.gate.counts.passed == 0
    for source, (image, label) in zip(mixed.sources.tolist(), items, strict=True):
        assert torch.equal(image, few[source][0])
        assert label == few[source][1]


def test_a_gate_that_weighs_has_no_place_here(few, vae):
    with pytest.raises(InputError, match="no place for weights; use a gate that re-draws, or AugmentedLoader"):
        MixedDataset(few, LatentAugment(vae, gate=QualityGate(action="weigh")))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_make_the_same_gated_samples(few, vae, context):
    mixed = MixedDataset(few, LatentAugment(vae, "gaussian(std=1.2)", gate=QualityGate()), seed=3)
    here = all_of(mixed)
    counts = mixed.augment.gate.counts
    assert 0 < counts.passed < counts.samples < counts.drawn  # all that a gate does has happened
    there = all_of(mixed, 2, context, batch_size=5)
    assert (there.int() - here.int()).abs().max() <= 1


def test_tuned_mixing_is_taken_from_the_config(digits):
    rows = [torch.nonzero(digits.targets == label)[:count, 0] for label, count in ((0, 12), (1, 6), (2, 3))]
    data = digits.subset(torch.cat(rows))
    document = {"autoencoder": "digits", "policy": "gaussian", "mixing": {"ratio": 0.5, "balance": 0.5}}
    tuned = MixedDataset(data, LatentAugment.from_config(document), sampling_strategy="tuned")
    said = MixedDataset(data, LatentAugment("digits", "gaussian"), sampling_strategy=Mixing(0.5, 0.5))
    for mixed in (tuned, said):
        labels = torch.tensor([label for _, label in mixed.__getitems__(range(len(mixed)))])
        synthetic = torch.tensor([mixed.is_synthetic(i) for i in range(len(mixed))])
        assert labels[~synthetic].bincount().tolist() == [12, 9, 7]
        assert labels[synthetic].bincount().tolist() == [6, 4, 4]


def test_what_a_mixing_repeats_is_real(digits, augment):
    data = digits.subset(torch.arange(15))
    mixed = MixedDataset(data, augment, sampling_strategy=Mixing(ratio=0.0, balance=1.0))
    assert len(mixed) > len(data)
    for place in range(len(data), len(mixed)):
        assert not mixed.is_synthetic(place)
        image, label = mixed[place]
        source = int(mixed.sources[place - len(data)])
        assert torch.equal(image, data[source][0])
        assert label == data[source][1]


def test_tuned_mixing_needs_a_config(few, augment):
    with pytest.raises(InputError, match=r"make it with LatentAugment\.from_config\('policy\.json'\)"):
        MixedDataset(few, augment, sampling_strategy="tuned")


def test_a_config_that_says_none_adds_nothing_and_says_so(few):
    document = {"autoencoder": "digits", "policy": "smote", "mixing": {"ratio": 0.0, "balance": 0.0}}
    augment = LatentAugment.from_config(document)
    with pytest.warns(AugmentorWarning, match="sampling_strategy='tuned' adds no synthetic samples"):
        mixed = MixedDataset(few, augment, sampling_strategy="tuned")
    assert len(mixed) == 40
    assert torch.equal(mixed[3][0], few[3][0])
