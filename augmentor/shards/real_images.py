"""Read the real images in batches, optionally in worker processes.

The size of the reads does not affect the result, because images are regrouped into the micro-batches of the plan.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .._internal.datasets import check_one_shape, fetch
from ..exceptions import AugmentorError, DataError

# Images (B,C,H,W), and labels (B,) int64, (B,K) float32 or None.
Batch = tuple[torch.Tensor, torch.Tensor | None]


def read(dataset: Any, reads: Iterable[Sequence[int]], num_workers: int) -> Iterator[Batch]:
    """Yield the items of each list of indices in `reads`, in order."""
    if num_workers == 0:
        for indices in reads:
            yield fetch(dataset, indices)
        return
    loader = DataLoader(
        _Reads(dataset),
        batch_size=None,
        sampler=reads,
        num_workers=num_workers,
        collate_fn=_unchanged,
        worker_init_fn=_leave_interrupts_to_the_caller,
        generator=torch.Generator(),  # else the global one would be used
    )
    for batch in loader:
        if isinstance(batch, AugmentorError):
            raise batch
        yield batch


def regrouped(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Regroup batches of any size into batches of `size` rows; the last one may be smaller."""
    images, labels = None, None
    for more, more_labels in batches:
        check_one_shape(part.shape[1:] for part in (images, more) if part is not None)
        if images is None:
            images, labels = more, more_labels
        elif images.dtype != more.dtype or (labels is None) != (more_labels is None):
            raise DataError("got images of different types, or labels for only some; give all items one structure")
        elif not len(images):
            images, labels = more, more_labels
        else:
            images = torch.cat([images, more])
            labels = None if labels is None or more_labels is None else torch.cat([labels, more_labels])
        while len(images) >= size:
            yield images[:size], None if labels is None else labels[:size]
            images, labels = images[size:], None if labels is None else labels[size:]
    if images is not None and len(images):
        yield images, labels


class _Reads(Dataset[Any]):
    """Data set with one read per item. An `AugmentorError` is returned, so that it keeps its type and text."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __getitem__(self, indices: Sequence[int]) -> Batch | AugmentorError:
        try:
            return fetch(self.dataset, indices)
        except AugmentorError as error:
            return error


def _leave_interrupts_to_the_caller(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all processes


def _unchanged(batch: Any) -> Any:
    return batch
