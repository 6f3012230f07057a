"""Data sets derived from other data sets: a part, an oversampled one, and one that raises an error at a deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from .._internal.datasets import dataset_labels, fetch_items, num_classes_of
from .._internal.random import fold
from ..data import ArrayDataset
from ..data.wrapper import Around
from ..exceptions import BudgetError
from ..latents import class_index


class Until(Around):
    """The same data set, attributes included; after the deadline, fetching items raises `BudgetError`."""

    def __init__(self, dataset: Any, deadline: float):
        super().__init__(dataset)
        self.deadline = deadline

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def _items(self, indices: Sequence[int]) -> list[Any]:
        if time.monotonic() > self.deadline:
            raise BudgetError("the time limit was reached during a training; increase it")
        return fetch_items(self.dataset, indices)


def part(dataset: Any, rows: np.ndarray, labels: torch.Tensor) -> Any:
    """Return the given rows (int64) of a data set with these labels; the part has `targets` and `classes`."""
    if isinstance(dataset, ArrayDataset):
        return dataset.subset(torch.from_numpy(rows))
    found: Any = Subset(dataset, rows.tolist())
    found.targets, found.classes = labels[torch.from_numpy(rows)], class_names(dataset, labels)
    return found


def thinned(dataset: Any, count: int, labels: torch.Tensor) -> Any:
    """Return at most `count` rows of a data set, evenly spaced."""
    return part(dataset, np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(np.int64), labels)


def class_names(dataset: Any, labels: torch.Tensor) -> list[str]:
    """Return the names of the classes of a data set with these labels, or their numbers if there are no names."""
    return [str(name) for name in getattr(dataset, "classes", None) or range(num_classes_of(dataset, labels) or 0)]


def oversampled(dataset: Any) -> Any:
    """Return the data set with all classes oversampled to the size of the largest, by repeating their samples in turn.

    dataset: map-style data set whose items are (image, class number).

    >>> from augmentor.data import load_source
    >>> few = load_source("digits").subset(range(25))
    >>> few.targets.bincount().max(), len(oversampled(few))
    (tensor(3), 30)
    """
    labels = dataset_labels(dataset)
    members = [np.flatnonzero(labels.numpy() == label) for label in labels.unique().tolist()]
    largest = max(map(len, members))
    return part(dataset, np.concatenate([np.resize(rows, largest) for rows in members]), labels)


def few_of_each(dataset: Any, count: int, seed: int) -> Any:
    """Return `count` random images of each class, or all images of a class that has fewer."""
    labels = dataset_labels(dataset)
    classes = class_index(labels)
    order = np.random.Generator(np.random.Philox(fold(seed, "few"))).permutation(len(labels))
    rows = [order[classes.numpy()[order] == label][:count] for label in classes.unique().tolist()]
    return part(dataset, np.sort(np.concatenate(rows)), labels)
