"""Epoch number that is shared with worker processes."""

from __future__ import annotations

from typing import Any

import torch


class SharedEpoch:
    """Integer in shared memory: `set` in the main process also takes effect in workers that already run.

    Copies made by `copy.deepcopy` or plain `pickle`, which are not passed to a worker, are independent.
    """

    def __init__(self, value: int = 0):
        self._cell = torch.tensor(value, dtype=torch.int64).share_memory_()

    def get(self) -> int:
        """Return the current epoch."""
        return int(self._cell)

    def set(self, value: int) -> None:
        """Make `value` the current epoch, here and in workers."""
        self._cell.fill_(int(value))

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedEpoch:
        return SharedEpoch(self.get())
