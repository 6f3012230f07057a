"""`Indexed`: a data set whose items say which they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._internal.datasets import fetch_items
from ..exceptions import InputError
from .wrapper import Around


class Indexed(Around):
    """The same items with their number behind: ``(image, label, {"index": 5})``, or under that key in a dict.

    A number by itself could be taken for a label. For `AugmentedLoader(cache=...)`, which takes the number off again.

    >>> from augmentor.data import load_source
    >>> Indexed(load_source("digits"))[5][2]
    {'index': 5}
    """

    def __init__(self, dataset: Any):
        super().__init__(dataset)
        if hasattr(dataset, "classes"):
            self.classes = dataset.classes

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [_with(item, int(i)) for item, i in zip(fetch_items(self.dataset, indices), indices, strict=True)]


def without_index(batch: Any) -> tuple[Any, torch.Tensor]:
    """A batch of such items => the batch as it would be without the numbers, and the numbers int64 (B,)."""
    last = batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else batch
    indices = last.get("index") if isinstance(last, dict) else None
    if not (isinstance(indices, torch.Tensor) and indices.dtype == torch.int64 and indices.ndim == 1):
        raise InputError(
            "got a batch without the samples' numbers, which cache= has to know; wrap the data set: "
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
