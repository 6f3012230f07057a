"""Base class of data sets that fetch the items of a batch together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import Dataset

Item = TypeVar("Item", covariant=True)


class BatchedDataset(Dataset[Item], Generic[Item]):
    """Base of data sets that read or compute the items of a batch in one call of `_items`.

    A loader fetches a batch with `__getitems__`. If a subclass overrides `__getitem__`, the batch consists of its
    items, so that the change is not ignored.
    """

    def _items(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at these indices."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Item:
        return self._items([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at these indices, in one call."""
        for owner in type(self).__mro__:  # the most derived of the two methods
            if "_items" in vars(owner):
                return self._items(indices)
            if "__getitem__" in vars(owner):
                break
        return [self[index] for index in indices]
