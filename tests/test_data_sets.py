"""Data in the forms that people have: Hugging Face data sets, iterables, arrays, subsets and concatenations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)

from augmentor import LatentAugment, LatentCache, MixedDataset, generate_shards
from augmentor.exceptions import DataError, InputError, ReferenceSetError

COUNT = 60


@pytest.fixture(scope="module")
def hugging_face(digits):
    datasets = pytest.importorskip("datasets")
    pictures = [Image.fromarray(image[0].numpy()) for image in digits.images[:COUNT]]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    return datasets.Dataset.from_dict({"image": pictures, "label": digits.targets[:COUNT].tolist()}, features=features)


def pixels(pictures):
    return torch.stack([torch.from_numpy(np.array(picture))[None] for picture in pictures])


class Stream(IterableDataset):
    """Samples without a length."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        return (self.dataset[i] for i in range(len(self.dataset)))


def test_a_hugging_face_transform_gets_slices_rows_lists_and_columns(hugging_face, digits):
    augment = LatentAugment("digits", "smote", p=1.0, seed=0).fit(hugging_face)
    transformed = hugging_face.with_transform(augment)
    expected = augment(digits.images[:8], digits.targets[:8])[0]
    batch = transformed[:8]
    assert batch["label"] == digits.targets[:8].tolist()
    for made in (batch["image"], transformed[list(range(8))]["image"], [transformed[i]["image"] for i in range(8)]):
        assert all(isinstance(picture, Image.Image) and picture.mode == "L" for picture in made)
        assert (pixels(made).int() - expected.int()).abs().max() <= 1
    column = LatentAugment("digits", "gaussian(std=0.5)", p=1.0)  # which needs no label
    assert list(hugging_face.with_transform(column)[:2]) == ["image", "label"]
    made = pixels(hugging_face.select_columns(["image"]).with_transform(column)[:8]["image"])
    assert (made != digits.images[:8]).flatten(1).any(1).all()
    alike = hugging_face.select([0] * 8).with_transform(column)[:]["image"]
    assert len(pixels(alike).unique(dim=0)) == 8  # each row has noise of its own
    with pytest.raises(ReferenceSetError, match="pass their labels"):
        hugging_face.select_columns(["image"]).with_transform(augment)[:8]


def test_columns_get_soft_labels_and_images_of_different_sizes_one_by_one(hugging_face):
    mixing = LatentAugment("digits", "interpolate(same_class=False)", p=1.0).fit(hugging_face)
    labels = hugging_face.with_transform(mixing)[:8]["label"]
    assert [label.shape for label in labels] == [(10,)] * 8
    torch.testing.assert_close(torch.stack(labels).sum(1), torch.ones(8))
    sizes = [Image.new("RGB", size, "red") for size in ((16, 16), (24, 16), (16, 16))]
    out = LatentAugment("natural", p=1.0)({"image": sizes, "label": [0, 1, 2], "name": ["a", "b", "c"]})
    assert [picture.size for picture in out["image"]] == [(16, 16), (24, 16), (16, 16)]
    assert (out["label"], out["name"]) == ([0, 1, 2], ["a", "b", "c"])


def test_fit_takes_every_usual_form_and_finds_the_same(hugging_face, digits):
    few = digits.subset(torch.arange(COUNT))
    images, labels = few.images, few.targets
    expected = LatentAugment("digits", "smote").fit(few).reference
    halves = [few.subset(torch.arange(30)), few.subset(torch.arange(30, COUNT))]
    for data in (
        (few,), (hugging_face,), (images, labels), (images.numpy()[:, 0], labels.numpy()), (images.numpy(), labels),
        (images.permute(0, 2, 3, 1).numpy(), labels.tolist()), (images, labels[:, None]),
        (TensorDataset(images, labels),), (Stream(few),), (DataLoader(few, 7),), (DataLoader(Stream(few), 7),),
        (ConcatDataset(halves),), (Subset(digits, range(COUNT)),), (ConcatDataset([Subset(digits, range(COUNT))]),),
        (list(zip(images.permute(0, 2, 3, 1).numpy(), labels.tolist(), strict=True)),),
    ):  # fmt: skip
        reference = LatentAugment("digits", "smote").fit(*data).reference
        torch.testing.assert_close(reference.z, expected.z)
        assert torch.equal(reference.labels, expected.labels)
    for data in (images, images.numpy(), images.numpy()[:, 0]):
        torch.testing.assert_close(LatentAugment("digits").fit(data).reference.z.sum(0), expected.z.sum(0))
    with pytest.raises(DataError, match="60 images and 59 labels"):
        LatentAugment("digits", "smote").fit(images, labels[1:])


def test_parts_of_a_data_set_know_all_of_its_classes(digits, hugging_face):
    first = (digits.targets[:COUNT] < 3).nonzero().squeeze(1).tolist()
    few = Subset(digits, first)
    for part in (few, random_split(few, [0.5, 0.5])[0], ConcatDataset([few, few]), hugging_face.select(first)):
        augment = LatentAugment("digits", "interpolate(same_class=False)").fit(part)
        assert augment.reference.num_classes == 10
        assert MixedDataset(part, augment)[len(part)]  # and it can be mixed


def test_mixed_data_sets_take_subsets_and_concatenations_and_name_the_way_for_an_iterable(digits, hugging_face):
    few = digits.subset(torch.arange(20))
    augment = LatentAugment("digits", "smote(k=3)").fit(digits)
    for data in (Subset(digits, range(20)), ConcatDataset([few, few]), random_split(few, [0.5, 0.5])[0]):
        batches = list(DataLoader(MixedDataset(data, augment), 8))
        assert sum(len(images) for images, _ in batches) == 2 * len(data)
    item = MixedDataset(hugging_face, augment)[COUNT + 3]
    assert isinstance(item["image"], Image.Image)
    with pytest.raises(InputError, match=r"map-style.*AugmentedLoader"):
        MixedDataset(Stream(few), augment)


class Counted(Stream):
    """Samples with a length, as many iterable data sets have one for progress bars."""

    def __len__(self):
        return len(self.dataset)


def test_iterables_that_have_a_length_are_iterables_still(digits, tmp_path):
    few = digits.subset(torch.arange(COUNT))
    expected = LatentAugment("digits", "smote").fit(few).reference
    for data in (Counted(few), ChainDataset([Stream(few)])):
        augment = LatentAugment("digits", "smote").fit(data)
        assert torch.equal(augment.reference.labels, expected.labels)
        with pytest.raises(InputError, match=r"map-style.*AugmentedLoader"):
            MixedDataset(data, augment)
        for use in (
            lambda data=data: generate_shards(data, LatentAugment("digits"), tmp_path / "out", num_samples=2),
            lambda data=data: LatentCache(data, LatentAugment("digits").autoencoder),
        ):
            with pytest.raises(DataError, match=r"map-style.*give list\(dataset\)"):
                use()


@pytest.mark.parametrize("arguments", [{}, {"batched": True, "batch_size": 16}], ids=["row", "batch"])
def test_a_hugging_face_map_takes_the_transform(hugging_face, arguments):
    made = hugging_face.map(LatentAugment("digits", "smote", p=1.0, seed=0).fit(hugging_face), **arguments)
    assert made["label"][:] == hugging_face["label"][:]
    before, after = pixels(hugging_face["image"][:]), pixels(made["image"][:])
    assert (before != after).flatten(1).any(1).float().mean() > 0.9


def test_fit_refuses_a_labels_getter_where_it_finds_no_labels_by_itself(digits):
    items = [{"image": image, "target": label} for image, label in digits.subset(torch.arange(8))]
    augment = LatentAugment("digits", "smote", labels_getter=_target)
    with pytest.raises(InputError, match=r"labels_getter .*give the labels with fit\(images, labels\)"):
        augment.fit(items)
    assert augment.fit([item["image"] for item in items], [item["target"] for item in items]).reference.labelled


def _target(sample):
    return sample["target"]
