"""Data sets around data sets: a part of one, one that is transformed, one that stops at a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .._internal.geometry import move_each
from .._internal.items import dataset_labels, fetch_items, image_to_tensor, split_item
from .._internal.random import fold
from ..data import ArrayDataset
from ..data.wrapper import Around
from ..exceptions import BudgetError
from ..latents import class_index


class Part(Dataset[Any]):
    """Some rows of a labelled map-style data set; `targets` and `classes` come along."""

    def __init__(self, dataset: Any, rows: np.ndarray, classes: Sequence[str]):
        self.dataset, self.rows, self.classes = dataset, rows, list(classes)
        self.targets = dataset_labels(dataset)[torch.from_numpy(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return fetch_items(self.dataset, [int(self.rows[index]) for index in indices])


class Transformed(Around):
    """Items `(transform(image), label)`, drawn anew at every fetch: what `tune` puts latents on top of.

    dataset: map-style, items (image, label), or images, whose label is then None. transform: of one tensor (C,H,W), as
    torchvision's; a `v2.RandomAffine`, a horizontal flip and a `Compose` of them are done for a whole batch at once.
    They draw from torch's global generator.

    >>> from torchvision.transforms import v2
    >>> from augmentor.data import load_source
    >>> Transformed(load_source("digits"), v2.RandomAffine(10))[0][0].shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any]):
        super().__init__(dataset)
        self.transform, self.classes = transform, getattr(dataset, "classes", None)

    @cached_property
    def targets(self) -> torch.Tensor:
        """Labels of all items; `DataError` where there are none."""
        return dataset_labels(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        pairs = [split_item(item) for item in fetch_items(self.dataset, indices)]
        images = [image_to_tensor(image) for image, _ in pairs]
        if len({image.shape for image in images}) == 1:
            images = list(move_each(self.transform, torch.stack(images)))
        else:
            images = [self.transform(image) for image in images]
        return [(image, label) for image, (_, label) in zip(images, pairs, strict=True)]


class Until(Dataset[Any]):
    """The same data set, whose items cannot be had after the deadline: so whatever trains on it stops."""

    def __init__(self, dataset: Any, deadline: float):
        self.dataset, self.deadline = dataset, deadline

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        if time.monotonic() > self.deadline:
            raise BudgetError("the time was up in the middle of a training; allow more")
        return fetch_items(self.dataset, indices)


def part(dataset: Any, rows: np.ndarray, classes: Sequence[str]) -> Any:
    """Some rows of a data set: an `ArrayDataset` of an `ArrayDataset`, a `Part` of any other."""
    if isinstance(dataset, ArrayDataset):
        return dataset.subset(torch.from_numpy(rows))
    return Part(dataset, rows, classes)


def oversampled(dataset: Any, classes: Sequence[str]) -> Any:
    """Every class as large as the largest, its samples in turn."""
    labels = dataset_labels(dataset).numpy()
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    largest = max(map(len, members))
    return part(dataset, np.concatenate([np.resize(rows, largest) for rows in members]), classes)


def few_of_each(dataset: Any, count: int, seed: int) -> Any:
    """`count` images of each class, drawn by the seed; all of a class that has fewer."""
    labels = class_index(dataset_labels(dataset))
    order = np.random.Generator(np.random.Philox(fold(seed, "few"))).permutation(len(labels))
    rows = [order[labels.numpy()[order] == label][:count] for label in labels.unique().tolist()]
    classes = getattr(dataset, "classes", None) or range(int(labels.max()) + 1)
    return part(dataset, np.sort(np.concatenate(rows)), [str(name) for name in classes])
