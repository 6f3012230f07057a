"""Order of the training samples, as a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .random import fold


class BatchStream:
    """Endless batches of equal size: each sample once per epoch, in an order that differs between epochs.

    The shuffled epochs form one sequence, and batch `step` starts at its place ``step * batch_size``, so resuming
    requires only the step.

    members: indices of the samples to use.
    """

    def __init__(self, dataset: Any, members: Sequence[int] | np.ndarray, batch_size: int, seed: int):
        self.dataset, self.members = dataset, np.asarray(members)
        self.batch_size, self.seed = batch_size, seed
        self._orders: dict[int, np.ndarray] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps in which each sample is used about once."""
        return max(1, round(len(self.members) / self.batch_size))

    def indices(self, step: int) -> np.ndarray:
        """Return the indices of the samples of batch `step`, int64 (batch_size,)."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, offsets = places // len(self.members), places % len(self.members)
        return np.asarray([self._order(int(e))[o] for e, o in zip(epochs, offsets, strict=True)])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            shuffle = np.random.Generator(np.random.Philox(fold(self.seed, "order", epoch)))
            self._orders = {k: v for k, v in self._orders.items() if k >= epoch - 1}
            self._orders[epoch] = shuffle.permutation(self.members)
        return self._orders[epoch]
