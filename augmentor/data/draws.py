"""`Draws`: selects the rows of a loader that get synthetic samples in an epoch, and their random keys."""

from __future__ import annotations

import numpy as np

from .._internal.random import fold, sample_keys


class Draws:
    """Selection of rows of one epoch, which does not depend on the batch size.

    ratio: synthetic samples per row. rank, ranks: rank of this process and number of processes; row k of this process
    is row ``k * ranks + rank`` of the epoch of all processes. seen: number of earlier rows of the epoch.
    """

    def __init__(self, ratio: float, seed: int, epoch: int, rank: int, ranks: int, seen: int = 0):
        self.ratio, self.seed, self.epoch, self.rank, self.ranks, self._seen = ratio, seed, epoch, rank, ranks, seen
        # The start differs between epochs, so that with a ratio below 1 each row is selected in some epochs.
        self._start = fold(seed, epoch, "start") / 2**63

    def following(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, for the next `count` rows, the row of each synthetic sample, int64 (n,), and its key, uint64 (n,)."""
        places = self._seen + np.arange(count)
        self._seen += count
        # The running total ratio * place is rounded down: a batch of B gets exactly ratio * B if that is an integer.
        before, after = np.floor(places * self.ratio + self._start), np.floor((places + 1) * self.ratio + self._start)
        counts = (after - before).astype(np.int64)
        rows = np.repeat(np.arange(count), counts)
        draw_indices = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, sample_keys(self.seed, self.epoch, places[rows] * self.ranks + self.rank, draw_indices)
