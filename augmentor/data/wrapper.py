"""Base class of data sets that wrap another data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from .._internal.datasets import dataset_fingerprint


class Around(Dataset[Any]):
    """Base of data sets with the length and images of `dataset`. Subclasses define `__getitems__`."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the inner data set."""
        return dataset_fingerprint(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the inner data set, if it has `set_epoch`."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at these indices."""
        raise NotImplementedError
