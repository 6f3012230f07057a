"""Items of other people's data sets: find the image and the label, turn images into tensors and back.

An image is a PIL image, a tensor (C,H,W) or a `tv_tensors.Image`; an item is an image, a tuple that starts with
(image, label), or a dict with a label key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as VF

from ..exceptions import DataError, InputError
from .checks import to_uint8

LabelsGetter = Callable[[Any], Any]


def is_image(value: Any) -> bool:
    """Whether a leaf of a sample is an image: PIL, `tv_tensors.Image`, or a plain tensor of at least 3 dimensions."""
    if isinstance(value, (PILImage.Image, tv_tensors.Image)):
        return True
    return type(value) is torch.Tensor and value.ndim >= 3


def image_to_tensor(image: Any) -> torch.Tensor:
    """PIL image, `tv_tensors.Image` or tensor => plain tensor (..., C, H, W) of the same dtype."""
    if isinstance(image, PILImage.Image):
        if image.mode not in ("L", "RGB"):
            raise InputError(
                f"got a PIL image of mode {image.mode!r}; expected 'L' or 'RGB': convert it with image.convert('RGB')"
            )
        return VF.pil_to_tensor(image)
    if isinstance(image, torch.Tensor):
        return image.as_subclass(torch.Tensor)
    raise InputError(
        f"got an image of type {type(image).__name__}; expected a PIL image or a tensor (C,H,W): "
        "convert arrays with v2.ToImage()"
    )


def tensor_to_image(tensor: torch.Tensor, like: Any) -> Any:
    """The inverse of `image_to_tensor`: an image of the type and dtype of `like`."""
    if isinstance(like, PILImage.Image):
        return VF.to_pil_image(to_uint8(tensor).cpu())
    tensor = to_uint8(tensor) if like.dtype == torch.uint8 else tensor.to(like.dtype)
    return tv_tensors.wrap(tensor, like=like) if isinstance(like, tv_tensors.TVTensor) else tensor


def default_labels(sample: Any) -> Any:
    """torchvision's convention: the second of a tuple or list, or the value under a key that says "label".

    None where there is no such thing.
    """
    if isinstance(sample, (tuple, list)):
        label = sample[1] if len(sample) > 1 else None
        return label if _is_label(label) else None
    if isinstance(sample, dict):
        key = label_key(sample)
        return None if key is None else sample[key]
    return None


def label_key(sample: dict[Any, Any]) -> str | None:
    """The key of a dict under which its label stands, or None."""
    keys = [key for key in sample if isinstance(key, str)]
    named = [key for key in keys if key.lower() in ("label", "labels")]
    named += [key for key in keys if "label" in key.lower()]
    return next((key for key in named if _is_label(sample[key])), None)


def no_labels(sample: Any) -> None:
    """The labels getter that finds none."""
    return


def resolve_labels_getter(getter: str | LabelsGetter | None) -> LabelsGetter:
    """``"default"``, a callable or None => a callable that pickles into workers."""
    if getter is None:
        return no_labels
    if getter == "default":
        return default_labels
    if callable(getter):
        return getter
    raise InputError(f"labels_getter is 'default', a callable or None, got {getter!r}")


def split_item(item: Any) -> tuple[Any, Any]:
    """An item of a data set => its image and its label, or None."""
    if is_image(item):
        return item, None
    leaves = item.values() if isinstance(item, dict) else item if isinstance(item, (tuple, list)) else ()
    for leaf in leaves:
        if is_image(leaf):
            return leaf, default_labels(item)
    raise DataError(
        f"got an item of type {type(item).__name__} without an image; expected an image, (image, label) "
        "or a dict with an image and a label"
    )


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


def labels_tensor(labels: Any) -> torch.Tensor:
    """Labels of any usual type => int64 (B,) or float32 (B,K)."""
    if not isinstance(labels, torch.Tensor):
        try:
            labels = torch.as_tensor(np.asarray([np.asarray(label) for label in labels]))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"got labels {labels!r:.60}; expected class numbers (B,) int or soft labels (B,K) float"
            ) from error
    if labels.ndim == 2 and labels.is_floating_point():
        return labels.float()
    if labels.ndim != 1 or labels.is_floating_point():
        raise InputError(
            f"got labels {labels.dtype} of shape {tuple(labels.shape)}; expected class numbers (B,) int "
            "or soft labels (B,K) float"
        )
    return labels.long()


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


def spread_over_classes(labels: torch.Tensor | None, total: int, count: int) -> torch.Tensor:
    """`count` of `total` rows, int64, taken from the classes in turn; the first ones where labels are none or soft."""
    if labels is None or labels.ndim != 1:
        return torch.arange(min(count, total))
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        rank[mine] = torch.arange(int(mine.sum()))
    return torch.argsort(rank * (int(labels.max()) + 1) + labels)[:count]


def num_classes_of(dataset: Any, labels: torch.Tensor | None) -> int | None:
    """How many classes there are: from the data set's `classes`, from soft labels, or the highest number."""
    if getattr(dataset, "classes", None):
        return len(dataset.classes)
    if labels is None:
        return None
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1


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


def _is_label(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return type(value) is torch.Tensor and not is_image(value)  # a box or a mask is none
    return isinstance(value, (int, float, np.integer, np.ndarray, list))
