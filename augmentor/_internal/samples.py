"""One sample of a data set: where its images and its label stand, and images as tensors and back.

An image is a PIL image, a tensor (C,H,W) or a `tv_tensors.Image`. A sample is an image, a tuple that starts with
(image, label), a dict with a label key, or any structure of these that torchvision transforms take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch.utils._pytree import tree_flatten, tree_unflatten
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


class Sample:
    """The leaves of a sample, which may be replaced, and its label as the labels getter finds it, or None.

    Raises `InputError` where there is no image.
    """

    def __init__(self, inputs: Any, labels_getter: LabelsGetter):
        self.leaves, self._structure = tree_flatten(inputs)
        self.image_places = _image_places(self.leaves)
        self._labels_getter = labels_getter
        self.label = labels_getter(inputs)

    def put_label(self, label: Any) -> None:
        """Replace the leaf that the labels getter returned; `InputError` where that is no single one."""
        leaves, structure = self.leaves, self._structure
        places = [i for i, leaf in enumerate(leaves) if leaf is self.label]
        if len(places) > 1:  # small whole numbers are one object wherever they stand: mark each, and look again
            mark = torch.tensor(0)
            marked = ([*leaves[:i], mark, *leaves[i + 1 :]] for i in places)
            found = [self._labels_getter(tree_unflatten(sample, structure)) is mark for sample in marked]
            places = [i for i, hit in zip(places, found, strict=True) if hit]
        if len(places) != 1:
            raise InputError(
                f"the policy makes soft labels, and the labels ({type(self.label).__name__}) that labels_getter "
                "gives are no single element of the sample to put them in; expected one tensor for a batch, one number "
                "for an image"
            )
        leaves[places[0]] = label

    def rebuilt(self) -> Any:
        """The sample with the leaves as they are now, in its own structure."""
        return tree_unflatten(self.leaves, self._structure)


def _image_places(leaves: list[Any]) -> list[int]:
    """Which leaves are images, by torchvision's rule: a plain tensor counts only where nothing else says it is one."""
    places = [i for i, leaf in enumerate(leaves) if is_image(leaf)]
    typed = [i for i in places if type(leaves[i]) is not torch.Tensor]
    if not places:
        raise InputError(
            "LatentAugment found no image in its input; expected a PIL image, or a tensor (C,H,W) or (B,C,H,W)"
        )
    return typed or places[:1]


def _is_label(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return type(value) is torch.Tensor and not is_image(value)  # a box or a mask is none
    return isinstance(value, (int, float, np.integer, np.ndarray, list))
