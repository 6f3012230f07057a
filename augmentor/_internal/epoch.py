"""An epoch number that worker processes see change."""

from __future__ import annotations

from typing import Any

import torch


class SharedEpoch:
    """One integer in shared memory: `set` in the main process reaches workers that already run.

    Copies that are not handed to a worker (`copy.deepcopy`, plain `pickle`) get a number of their own.
    """

    def __init__(self, value: int = 0):
        self._cell = torch.tensor(value, dtype=torch.int64).share_memory_()

    def get(self) -> int:
        """The current epoch."""
        return int(self._cell)

    def set(self, value: int) -> None:
        """Make `value` the current epoch, here and in workers."""
        self._cell.fill_(int(value))

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedEpoch:
        return SharedEpoch(self.get())
