"""A subclass that changes the items of one of the data sets changes its batches too."""

from __future__ import annotations

import h5py
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from augmentor import LatentAugment, MixedDataset, ShardDataset, generate_shards
from augmentor._internal.batched import BatchedDataset
from augmentor.data import HDF5Dataset, Indexed, Transformed, pseudo_label
from augmentor.data._images import Images
from augmentor.tuning.datasets import Until


def written(folder, data) -> HDF5Dataset:
    with h5py.File(folder / "digits.h5", "w") as file:
        file["images"], file["labels"] = data.images.numpy(), data.targets.numpy()
    return HDF5Dataset(folder / "digits.h5")


MADE = {
    "ArrayDataset": lambda data, folder: data.subset(torch.arange(30)),
    "HDF5Dataset": lambda data, folder: written(folder, data.subset(torch.arange(30))),
    "Images": lambda data, folder: Images(data, "digits", (1, 8, 8), torch.uint8),
    "Indexed": lambda data, folder: Indexed(data),
    "MixedDataset": lambda data, folder: MixedDataset(data, LatentAugment("digits")),
    "PseudoLabelled": lambda data, folder: pseudo_label(
        data.subset(torch.arange(100)), data.subset(torch.arange(100, 200)), "digits"
    ),
    "ShardDataset": lambda data, folder: ShardDataset(
        generate_shards(data, LatentAugment("digits"), folder / "shards", num_samples=20)
    ),
    "Transformed": lambda data, folder: Transformed(data, v2.RandomAffine(10)),
    "Until": lambda data, folder: Until(data, float("inf")),
}


def subclasses(kind: type) -> set[type]:
    return {kind, *(each for child in kind.__subclasses__() for each in subclasses(child))}


def test_every_one_of_them_is_tried():
    ours = {each.__name__ for each in subclasses(BatchedDataset) if each.__module__.startswith("augmentor.")}
    assert ours - {"BatchedDataset", "Around"} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_an_item_that_a_subclass_changes_is_changed_in_a_batch(name, digits, tmp_path):
    data = MADE[name](digits, tmp_path)

    class Changed(type(data)):
        def __getitem__(self, index):
            super().__getitem__(index)
            return index, "changed"

    class Scaled(type(data)):
        def _items(self, indices):
            return [(index, "scaled") for index in indices]

    data.__class__ = Changed
    assert data.__getitems__([3, 1]) == [(3, "changed"), (1, "changed")]
    assert next(iter(DataLoader(data, batch_size=2)))[1] == ("changed", "changed")
    data.__class__ = Scaled
    assert data.__getitems__([3, 1]) == [(3, "scaled"), (1, "scaled")]
