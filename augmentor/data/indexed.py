"""`Indexed`: a data set with the index in each item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._internal.datasets import fetch_items
from ..exceptions import InputError
from .wrapper import Around


class Indexed(Around):
    """Data set that appends the index to each item: ``(image, label, {"index": 5})``; in a dict under the key "index".

    A plain number could be mistaken for a label. `AugmentedLoader(cache=...)` needs the index, and removes it again.

    >>> from augmentor.data import load_source
    >>> Indexed(load_source("digits"))[5][2]
    {'index': 5}
    """

    def __init__(self, dataset: Any):
        super().__init__(dataset)
        if hasattr(dataset, "classes"):
            self.classes = dataset.classes

    def _items(self, indices: Sequence[int]) -> list[Any]:
        return [_with(item, int(i)) for item, i in zip(fetch_items(self.dataset, indices), indices, strict=True)]


def without_index(batch: Any) -> tuple[Any, torch.Tensor]:
    """Return a batch of such items without the indices, and the indices, int64 (B,)."""
    last = batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else batch
    indices = last.get("index") if isinstance(last, dict) else None
    if not (isinstance(indices, torch.Tensor) and indices.dtype == torch.int64 and indices.ndim == 1):
        raise InputError(
            "got a batch without the indices of its samples, which cache= requires; wrap the data set: "
            "DataLoader(Indexed(dataset), ...)"
        )
    if last is batch:
        return {name: value for name, value in batch.items() if name != "index"}, indices
    rest = tuple(batch[:-1])
    return rest if len(rest) > 1 else rest[0], indices


def _with(item: Any, index: int) -> Any:
    if isinstance(item, dict):
        return {**item, "index": index}
    return (*item, {"index": index}) if isinstance(item, (tuple, list)) else (item, {"index": index})
