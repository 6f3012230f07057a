"""The order of training samples."""

from __future__ import annotations

import numpy as np

from augmentor._internal.batches import BatchStream


def test_each_epoch_shows_every_sample_once_in_its_own_order_across_the_ends_of_batches():
    stream, fresh, other = (BatchStream(None, range(10), 7, seed=seed) for seed in (0, 0, 1))
    assert stream.steps_per_epoch == 1
    laid = np.concatenate([stream.indices(step) for step in range(10)]).reshape(7, 10)
    assert (np.sort(laid, axis=1) == np.arange(10)).all()
    assert len({tuple(order) for order in laid}) == 7
    assert np.array_equal(fresh.indices(6), stream.indices(6))
    assert not np.array_equal(other.indices(6), stream.indices(6))
