"""What data sets around a data set share: as many items, fetched in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from .._internal.datasets import dataset_fingerprint


class Around(Dataset[Any]):
    """As many items as `dataset` has, of the same images; a member gives `__getitems__`."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    @property
    def fingerprint(self) -> str:
        """That of the data set inside: what becomes of its images has none of its own."""
        return dataset_fingerprint(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def set_epoch(self, epoch: int) -> None:
        """For the data set inside, where it has epochs."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The items of these numbers."""
        raise NotImplementedError
