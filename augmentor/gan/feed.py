"""Batches of the data set, and random numbers, for the part of each batch that this process computes.

Both depend only on the seed, a purpose and a number, so that resuming needs no state, and on the position in the
whole batch, so that the number of processes does not matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from .._internal.batches import BatchStream
from .._internal.checks import check_range, to_unit_float
from .._internal.datasets import batches, fetch
from .._internal.engine import Engine
from .._internal.random import fold, sample_keys, torch_generator
from .._internal.transfer import sent
from ..exceptions import InputError


class Batch(NamedTuple):
    """Part of a batch that this process computes.

    images: float (B,C,H,W) in [0, 1], on the device. labels: int64 (B,), or None for an unconditional method.
    keys: uint64 (B,), one random sequence per image. places: int64 (B,), positions in the whole batch. indices: int64
    (B,), positions in the data set.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    keys: np.ndarray
    places: np.ndarray
    indices: np.ndarray


class Feed:
    """Batches and random numbers of one run, with its engine.

    batch_size: size of the whole batch, over all processes. labelled: whether batches have labels.
    """

    def __init__(self, dataset: Any, batch_size: int, seed: int, engine: Engine, *, labelled: bool):
        if batch_size % engine.processes:
            raise InputError(
                f"a batch of {batch_size} images cannot be split evenly over {engine.processes} processes; "
                "choose a multiple of the number of processes as batch_size"
            )
        self.dataset, self.batch_size, self.seed, self.engine = dataset, batch_size, seed, engine
        self.labelled = labelled
        share = batch_size // engine.processes
        self.places = np.arange(engine.rank * share, (engine.rank + 1) * share)
        self._stream = BatchStream(dataset, np.arange(len(dataset)), batch_size, seed)

    @property
    def device(self) -> torch.device:
        """Device of the run."""
        return self.engine.device

    def batch(self, number: int) -> Batch:
        """Return batch `number`, counted from 0, of the concatenated shuffled epochs."""
        whole = self._stream.indices(number)
        indices = whole[self.places]
        images, labels = fetch(self.dataset, indices.tolist())
        check_range(images, "GANTrainer")
        images = to_unit_float(sent(images, self.device))
        labels = sent(labels, self.device) if labels is not None and self.labelled else None
        # A batch that contains the end of an epoch can contain an image twice; each copy has its own key.
        keys = sample_keys(fold(self.seed, "real"), number, indices, _earlier(whole)[self.places])
        return Batch(images, labels, keys, self.places, indices)

    def made(self, batch: Batch, images: torch.Tensor, purpose: str, number: int) -> Batch:
        """Return the batch with its images replaced by generated ones, and with other random sequences."""
        return batch._replace(images=images, keys=self.keys(purpose, number))

    def keys(self, purpose: str, number: int) -> np.ndarray:
        """Return one random sequence per position, uint64 (B,), for `SampleRandom`."""
        return sample_keys(fold(self.seed, purpose), number, self.places)

    def normal(self, purpose: str, number: int, *shape: int) -> torch.Tensor:
        """Return standard normal noise, float32 (B, *shape), on the device."""
        random = torch_generator(self.device, self.seed, purpose, number)
        whole = torch.randn(self.batch_size, *shape, generator=random, device=self.device)
        return whole[self.places[0] : self.places[-1] + 1]

    def generator(self, purpose: str, number: int) -> torch.Generator:
        """Return a torch generator for other random numbers, on the device; different in each process."""
        return torch_generator(self.device, self.seed, purpose, number, self.engine.rank)

    def samples(self) -> Any:
        """Return the whole data set, for methods such as `LatentAugment.fit`; without labels if `labelled` is False."""
        return self.dataset if self.labelled else [(images, None) for images, _ in batches(self.dataset)]


def _earlier(values: np.ndarray) -> np.ndarray:
    """Return the number of earlier occurrences of each value (B,): int64 (B,)."""
    order = values.argsort(kind="stable")
    ordered, earlier = values[order], np.empty_like(order)
    earlier[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return earlier
