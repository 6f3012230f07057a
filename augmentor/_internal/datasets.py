"""Reading of the user's data sets and loaders: batches as tensors, labels, number of classes, fingerprint."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from ..exceptions import DataError
from .layout import array_tensor
from .progress import progress_bar
from .samples import image_to_tensor, labels_tensor, split_item

# Number of images by which an autoencoder is chosen.
_SOME = 64


def fetch_items(dataset: Any, indices: Sequence[int]) -> list[Any]:
    """Return items of a map-style data set, in one call if it has `__getitems__`."""
    if hasattr(dataset, "__getitems__"):
        return list(dataset.__getitems__(list(indices)))
    return [dataset[i] for i in indices]


def collate(items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Convert items to images (B,C,H,W) and labels (B,) int64, (B,K) float32 or None."""
    if items and all(map(_is_plain, items)):  # the most frequent items, which need no conversion
        images, labels = map(list, zip(*items, strict=True))
        check_one_shape(image.shape for image in images)
        return torch.stack(images), torch.tensor(labels)
    pairs = [split_item(item) for item in items]
    images = [image_to_tensor(image) for image, _ in pairs]
    check_one_shape(image.shape for image in images)
    labels = [label for _, label in pairs if label is not None]
    if labels and len(labels) < len(pairs):
        raise DataError(f"got labels for {len(labels)} of {len(pairs)} items; label all items or none")
    return torch.stack(images), labels_tensor(labels) if labels else None


def _is_plain(item: Any) -> bool:
    """Return whether an item is a pair of an image tensor (C,H,W) and a class number."""
    return (
        type(item) is tuple
        and len(item) == 2
        and type(item[0]) is torch.Tensor
        and item[0].ndim == 3
        and type(item[1]) is int
    )


def check_one_shape(shapes: Iterable[Sequence[int]]) -> None:
    """Raise `DataError` for images of different shapes (C,H,W)."""
    found = sorted({tuple(shape) for shape in shapes})
    if len(found) > 1:
        raise DataError(f"got images of different shapes {found[:3]}; resize them to one shape with v2.Resize")


def fetch(dataset: Any, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return images (B,C,H,W) and labels (or None) of some items of a map-style data set."""
    # Not for a subclass, which may change the items.
    get_batch = vars(type(dataset)).get("get_batch")
    return collate(fetch_items(dataset, indices)) if get_batch is None else get_batch(dataset, indices)


def some_images(dataset: Any) -> torch.Tensor:
    """Return up to 64 images (B,C,H,W) at equal steps over a data set, to choose an autoencoder by."""
    return fetch(dataset, equal_steps(len(dataset), _SOME))[0]


def batches(
    data: Any, batch_size: int = 256, doing: str | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Yield all batches of a map-style data set, of an iterable of samples or of batches, such as a DataLoader.

    A list is a data set if its first element is one sample, and an iterable if it is a batch. doing: description of the
    progress bar; None shows no bar.
    """
    count = num_samples(data)
    if count == 0:
        raise DataError("got an empty data set; expected at least one image")
    found = _loaded(data, batch_size) if count is None else _fetched(data, count, batch_size)
    if doing is None:
        yield from found
        return
    with progress_bar(desc=doing, unit="image", total=count, leave=False) as bar:
        for images, labels in found:
            yield images, labels
            bar.update(len(images))


def num_samples(data: Any) -> int | None:
    """Return the number of samples of a map-style data set; None for an iterable."""
    return len(data) if is_map_style(data) and not _holds_batches(data) else None


def is_map_style(data: Any) -> bool:
    """Return whether data has a length and indices. An `IterableDataset` has none, but inherits `__getitem__`."""
    return hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, IterableDataset)


def _fetched(dataset: Any, count: int, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    for start in range(0, count, batch_size):
        yield fetch(dataset, range(start, min(start + batch_size, count)))


def _loaded(data: Iterable[Any], batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    items = iter(data)
    for first in items:
        if _is_sample(first):
            yield collate([first, *itertools.islice(items, batch_size - 1)])
        else:
            images, labels = split_item(first)
            yield image_to_tensor(images), None if labels is None else labels_tensor(labels)


def items_of(images: Any, labels: Any) -> list[Any]:
    """Convert images and labels (N, ...), arrays, tensors or lists, to items (image, label), or images without labels.

    An array of images is (N,H,W), (N,H,W,C) or (N,C,H,W); see `channels_first`.
    """
    if isinstance(images, np.ndarray):
        images = array_tensor(images, "the array")
    if labels is None:
        return list(images)
    if len(images) != len(labels):
        raise DataError(f"got {len(images)} images and {len(labels)} labels; expected one label per image")
    return list(zip(images, labels, strict=True))


def dataset_labels(dataset: Any) -> torch.Tensor:
    """Return the labels of a map-style data set; if it has `targets`, no image is decoded."""
    # With a `target_transform`, the labels of the items differ from `targets`.
    known = None if getattr(dataset, "target_transform", None) else getattr(dataset, "targets", None)
    if known is not None and len(known) == len(dataset):
        return labels_tensor(known)
    found = [labels for _, labels in batches(dataset, doing="reading labels")]
    if any(labels is None for labels in found):
        raise DataError("this data set has no labels; expected items (image, label)")
    return torch.cat([labels for labels in found if labels is not None])


def class_names_of(dataset: Any) -> list[Any]:
    """Return the `classes` of a data set, also of Hugging Face, `Subset` and `ConcatDataset`; [] if unknown."""
    if known := getattr(dataset, "classes", None):
        return list(known)
    features = getattr(dataset, "features", None)  # of Hugging Face
    if isinstance(features, dict):
        named = [feature.names for feature in features.values() if hasattr(feature, "names")]
        return list(named[0]) if len(named) == 1 else []
    if isinstance(dataset, Subset):
        return class_names_of(dataset.dataset)
    parts = [class_names_of(part) for part in dataset.datasets] if isinstance(dataset, ConcatDataset) else []
    return parts[0] if parts and all(part == parts[0] for part in parts) else []


def num_classes_of(dataset: Any, labels: torch.Tensor | None) -> int | None:
    """Return the number of classes: from `classes` of the data set, the width of soft labels or the highest label.

    None if it is unknown. Negative labels are not counted as classes.
    """
    if names := class_names_of(dataset):
        return len(names)
    if labels is None:
        return None
    return labels.shape[1] if labels.ndim == 2 else int(labels.max().clamp_min(-1)) + 1 or None


def equal_steps(count: int, most: int) -> list[int]:
    """Return `most` of `count` indices at nearly equal steps, or all if there are fewer.

    >>> equal_steps(12, 8)
    [0, 1, 3, 4, 6, 7, 9, 10]
    """
    number = min(count, most)
    return [step * count // number for step in range(number)]


def spread_over_classes(labels: torch.Tensor | None, total: int, count: int) -> torch.Tensor:
    """Return `count` of `total` rows, int64, from each class in turn; the first rows if labels are None or soft."""
    if labels is None or labels.ndim != 1:
        return torch.arange(min(count, total))
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        rank[mine] = torch.arange(int(mine.sum()))
    return torch.argsort(rank * (int(labels.max()) + 1) + labels)[:count]


def dataset_fingerprint(dataset: Any) -> str:
    """Return the `fingerprint` attribute of the data set, or else the SHA-256 of all its images and labels.

    Different pixels, order or labels give another fingerprint. The whole data set is read once.
    """
    known = getattr(dataset, "fingerprint", None)
    if isinstance(known, str):
        return known
    digest = hashlib.sha256(str(len(dataset)).encode())
    for images, labels in batches(dataset, doing="reading"):
        digest.update(f"{tuple(images.shape[1:])} {images.dtype}".encode())
        digest.update(images.contiguous().numpy().tobytes())
        if labels is not None:
            digest.update(labels.numpy().tobytes())
    return digest.hexdigest()


def _holds_batches(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and len(data) > 0 and not _is_sample(data[0])


def _is_sample(item: Any) -> bool:
    """Return whether the item is one sample (True) or a batch (False)."""
    image, _ = split_item(item)
    return not (isinstance(image, (torch.Tensor, np.ndarray)) and image.ndim == 4)
