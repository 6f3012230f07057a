"""Data sets and loaders of the user: batches as tensors, labels, the number of classes, and a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from ..exceptions import DataError
from .samples import image_to_tensor, labels_tensor, split_item


def fetch_items(dataset: Any, indices: Sequence[int]) -> list[Any]:
    """Items of a map-style data set, in one call where it offers `__getitems__`."""
    if hasattr(dataset, "__getitems__"):
        return list(dataset.__getitems__(list(indices)))
    return [dataset[i] for i in indices]


def collate(items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Items => images (B,C,H,W), and labels (B,) int64, (B,K) float32 or None."""
    pairs = [split_item(item) for item in items]
    images = [image_to_tensor(image) for image, _ in pairs]
    check_one_shape(image.shape for image in images)
    labels = [label for _, label in pairs if label is not None]
    if labels and len(labels) < len(pairs):
        raise DataError(f"got labels for {len(labels)} of {len(pairs)} items; label all of them or none")
    return torch.stack(images), labels_tensor(labels) if labels else None


def check_one_shape(shapes: Iterable[Sequence[int]]) -> None:
    """`DataError` for images of different shapes (C,H,W)."""
    found = sorted({tuple(shape) for shape in shapes})
    if len(found) > 1:
        raise DataError(f"got images of different shapes {found[:3]}; resize them to one with v2.Resize")


def fetch(dataset: Any, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images (B,C,H,W) and labels (or None) of some items of a map-style data set."""
    return collate(fetch_items(dataset, indices))


def batches(data: Any, batch_size: int = 256) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """All batches of a map-style data set, or of an iterable of batches such as a DataLoader.

    A list is a data set if its first element is one sample, and an iterable if that is a batch.
    """
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not _holds_batches(data):
        if len(data) == 0:
            raise DataError("got an empty data set; expected at least one image")
        for start in range(0, len(data), batch_size):
            yield fetch(data, range(start, min(start + batch_size, len(data))))
    else:
        for batch in data:
            images, labels = split_item(batch)
            yield image_to_tensor(images), None if labels is None else labels_tensor(labels)


def dataset_labels(dataset: Any) -> torch.Tensor:
    """Labels of a whole map-style data set, without decoding images where it keeps them as `targets`."""
    # With a `target_transform` the items have other labels than `targets`.
    known = None if getattr(dataset, "target_transform", None) else getattr(dataset, "targets", None)
    if known is not None and len(known) == len(dataset):
        return labels_tensor(known)
    found = [labels for _, labels in batches(dataset)]
    if any(labels is None for labels in found):
        raise DataError("this data set has no labels; expected items (image, label)")
    return torch.cat([labels for labels in found if labels is not None])


def num_classes_of(dataset: Any, labels: torch.Tensor | None) -> int | None:
    """How many classes there are: from the data set's `classes`, from soft labels, or the highest number."""
    if getattr(dataset, "classes", None):
        return len(dataset.classes)
    if labels is None:
        return None
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1


def spread_over_classes(labels: torch.Tensor | None, total: int, count: int) -> torch.Tensor:
    """`count` of `total` rows, int64, taken from the classes in turn; the first ones where labels are none or soft."""
    if labels is None or labels.ndim != 1:
        return torch.arange(min(count, total))
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        rank[mine] = torch.arange(int(mine.sum()))
    return torch.argsort(rank * (int(labels.max()) + 1) + labels)[:count]


def dataset_fingerprint(dataset: Any) -> str:
    """SHA-256 over all images and labels, or the data set's own `fingerprint` where it has one.

    Images that differ, in pixels, order or label, give another fingerprint. It reads the whole data set once.
    """
    known = getattr(dataset, "fingerprint", None)
    if isinstance(known, str):
        return known
    digest = hashlib.sha256(str(len(dataset)).encode())
    for images, labels in batches(dataset):
        digest.update(f"{tuple(images.shape[1:])} {images.dtype}".encode())
        digest.update(images.contiguous().numpy().tobytes())
        if labels is not None:
            digest.update(labels.numpy().tobytes())
    return digest.hexdigest()


def _holds_batches(data: Any) -> bool:
    if not isinstance(data, (list, tuple)) or not data:
        return False
    image, _ = split_item(data[0])
    return isinstance(image, torch.Tensor) and image.ndim == 4
