"""`Draws`: which rows of a loader's batches get synthetic samples in an epoch, and the random keys of these."""

from __future__ import annotations

import numpy as np

from .._internal.random import fold, sample_keys


class Draws:
    """Row by row through one epoch; the result does not depend on the batch size.

    ratio: synthetic samples for each row. rank, ranks: this process and how many there are: the row at place k here is
    at place ``k * ranks + rank`` of the epoch of all. seen: rows that the epoch has had before.
    """

    def __init__(self, ratio: float, seed: int, epoch: int, rank: int, ranks: int, seen: int = 0):
        self.ratio, self.seed, self.epoch, self.rank, self.ranks, self._seen = ratio, seed, epoch, rank, ranks, seen
        # Another start in each epoch, so that with a ratio below 1 every place has its turn.
        self._start = fold(seed, epoch, "start") / 2**63

    def following(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For the next `count` rows: the row of each synthetic sample, int64 (n,), and its key, uint64 (n,)."""
        places = self._seen + np.arange(count)
        self._seen += count
        # The running total ratio * place, rounded down: a batch of B gets exactly ratio * B when that is whole.
        before, after = np.floor(places * self.ratio + self._start), np.floor((places + 1) * self.ratio + self._start)
        counts = (after - before).astype(np.int64)
        rows = np.repeat(np.arange(count), counts)
        draw_indices = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, sample_keys(self.seed, self.epoch, places[rows] * self.ranks + self.rank, draw_indices)
