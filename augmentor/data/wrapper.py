"""Base class of data sets that wrap another data set."""

from __future__ import annotations

from typing import Any

from .._internal.batched import BatchedDataset
from .._internal.datasets import dataset_fingerprint


class Around(BatchedDataset[Any]):
    """Base of data sets with the length and images of `dataset`. Subclasses define `_items`."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the inner data set."""
        return dataset_fingerprint(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the inner data set, if it has `set_epoch`."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)
