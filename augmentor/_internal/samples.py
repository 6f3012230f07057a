"""Samples of data sets: finding the images and the label, and converting images to tensors and back.

An image is a PIL image, a tensor (C,H,W), a `tv_tensors.Image` or a numpy array (H,W) or (H,W,C). A sample is an
image, a tuple that starts with (image, label), a dict with a label key, or any structure of these that torchvision
transforms take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as VF

from ..exceptions import DataError, InputError
from .checks import to_uint8, unit_line
from .layout import holds_numbers, image_channels_first

LabelsGetter = Callable[[Any], Any]


def is_image(value: Any) -> bool:
    """Return whether a leaf of a sample is an image: PIL, `tv_tensors.Image`, a plain tensor with at least 3 dimensions
    or a numpy array with 2 to 4 dimensions.
    """
    return _doubt(value) < math.inf


def image_to_tensor(image: Any) -> torch.Tensor:
    """Convert a PIL image, numpy array (H,W) or (H,W,C), `tv_tensors.Image` or tensor to a plain tensor (..., C, H, W).

    The dtype and memory format are kept. Raises `InputError` for a PIL image that `rgb_of` does not accept,
    `ShapeError` for an array whose layout is ambiguous.
    """
    if isinstance(image, PILImage.Image):
        return VF.pil_to_tensor(rgb_of(image))
    if isinstance(image, np.ndarray):
        return torch.from_numpy(np.array(image_channels_first(image), image.dtype.newbyteorder("="), order="C"))
    if isinstance(image, torch.Tensor):
        return image.as_subclass(torch.Tensor)
    raise InputError(
        f"got an image of type {type(image).__name__}; expected a PIL image, a tensor (C,H,W) or a numpy array (H,W,C)"
    )


def tensor_to_image(tensor: torch.Tensor, like: Any) -> Any:
    """Convert a tensor to an image with the type, dtype, memory format and PIL mode of `like` (see `image_to_tensor`).

    Only the PIL modes "L", "LA", "RGB" and "RGBA" are kept; images of other modes become "L" or "RGB".
    """
    if isinstance(like, PILImage.Image):
        picture = VF.to_pil_image(to_uint8(tensor).cpu())
        return picture.convert(like.mode) if like.mode in ("LA", "RGBA") else picture
    if isinstance(like, np.ndarray):
        values = (to_uint8(tensor) if like.dtype == np.uint8 else tensor).cpu().numpy().astype(like.dtype)
        return values[0] if like.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, 0, 2))
    tensor = to_uint8(tensor) if like.dtype == torch.uint8 else tensor.to(like.dtype)
    if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tv_tensors.wrap(tensor, like=like) if isinstance(like, tv_tensors.TVTensor) else tensor


def rgb_of(image: PILImage.Image) -> PILImage.Image:
    """Convert a PIL image of any 8-bit mode to mode "L" or "RGB" without a visible change.

    Raises `InputError` for transparent pixels, because their hidden colours would become visible, and for modes with
    more than 8 bits, which Pillow would clip.

    >>> rgb_of(PILImage.new("RGBA", (8, 8), "red")).mode
    'RGB'
    """
    if image.mode.startswith(("I", "F")):
        line = "v2.ToImage(), v2.ToDtype(torch.float32, scale=True)"
        if not image.mode.startswith("I;16"):
            values = np.asarray(image)
            line = unit_line((float(values.min()), float(values.max())), "v2.functional.to_image(image)")
        raise InputError(
            f"got a PIL image of mode {image.mode!r}, with more than 8 bits; expected an image of an 8-bit mode: "
            f"convert it to a float tensor in [0, 1] with {line}, or store all such files in one .npz whose "
            "array 'images' is np.stack([np.asarray(image), ...])"
        )
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        hidden = int(np.count_nonzero(alpha < 255))
        if hidden:
            raise InputError(
                f"got a PIL image of mode {image.mode!r} with {hidden} of {alpha.size} pixels transparent; expected "
                "opaque pixels: put it on a background, with image = Image.alpha_composite("
                'Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")'
            )
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image if image.mode == mode else image.convert(mode)


def default_labels(sample: Any) -> Any:
    """Return the label by torchvision's convention, or None.

    It is the second element of a tuple or list, or the value of a dict key that contains "label".
    """
    if isinstance(sample, (tuple, list)):
        label = sample[1] if len(sample) > 1 else None
        return label if _is_label(label) else None
    if isinstance(sample, dict):
        key = label_key(sample)
        return None if key is None else sample[key]
    return None


def label_key(sample: dict[Any, Any]) -> str | None:
    """Return the key of the label in a dict, or None."""
    return next((key for key in _label_keys(sample) if _is_label(sample[key])), None)


def text_label(sample: Any) -> str | None:
    """Return the label of a sample, or the first label of a batch, if it is a string; otherwise None."""
    known = default_labels(sample)
    places = [] if known is None else [known]
    if known is None and isinstance(sample, dict):
        places = [sample[key] for key in _label_keys(sample)]
    elif known is None and isinstance(sample, (tuple, list)):
        places = list(sample[1:2])
    firsts = [place[0] if isinstance(place, (tuple, list)) and place else place for place in places]
    return next((first for first in firsts if isinstance(first, str)), None)


def _label_keys(sample: dict[Any, Any]) -> list[str]:
    """Return the keys that contain "label"; "label" and "labels" come first."""
    keys = [key for key in sample if isinstance(key, str)]
    named = [key for key in keys if key.lower() in ("label", "labels")]
    return named + [key for key in keys if "label" in key.lower()]


def no_labels(sample: Any) -> None:
    """Return None: the labels getter for samples without labels."""
    return


def resolve_labels_getter(getter: str | LabelsGetter | None) -> LabelsGetter:
    """Return the callable for ``"default"``, a callable or None; it can be pickled for workers."""
    if getter is None:
        return no_labels
    if getter == "default":
        return default_labels
    if callable(getter):
        return getter
    raise InputError(f"labels_getter must be 'default', a callable or None; got {getter!r}")


def split_item(item: Any) -> tuple[Any, Any]:
    """Return the image and the label (or None) of an item of a data set."""
    if is_image(item):
        return item, None
    leaves = item.values() if isinstance(item, dict) else item if isinstance(item, (tuple, list)) else ()
    image = min(filter(is_image, leaves), key=_doubt, default=None)
    if image is not None:
        return image, default_labels(item)
    raise DataError(
        f"got an item of type {type(item).__name__} without an image; expected an image, (image, label) "
        "or a dict with an image and a label"
    )


def labels_tensor(labels: Any) -> torch.Tensor:
    """Convert labels to class numbers int64 (B,), also from (B,1), or to multi-hot or soft labels float32 (B,K)."""
    if not isinstance(labels, torch.Tensor):
        try:
            labels = torch.as_tensor(np.asarray([np.asarray(label) for label in labels]))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"got labels {labels!r:.60}; expected class numbers (B,) int or soft labels (B,K) float"
            ) from error
    if labels.ndim == 2 and labels.shape[1] == 1 and not labels.is_floating_point():
        labels = labels.squeeze(1)
    if labels.ndim == 2:
        return labels.float()
    if labels.ndim != 1 or labels.is_floating_point():
        raise InputError(
            f"got labels {labels.dtype} of shape {tuple(labels.shape)}; expected class numbers (B,) int "
            "or soft labels (B,K) float"
        )
    return labels.long()


def holds_geometry(sample: Any) -> bool:
    """Return whether a sample of any structure contains bounding boxes, masks or keypoints."""
    kinds = (tv_tensors.BoundingBoxes, tv_tensors.Mask, tv_tensors.KeyPoints)
    return any(isinstance(leaf, kinds) for leaf in tree_flatten(sample)[0])


def holds_other_image(item: Any) -> bool:
    """Return whether an item of a data set has a mask or another image of any type with the size of its image."""
    image, _ = split_item(item)
    others = (leaf for leaf in tree_flatten(item)[0] if leaf is not image and is_image(leaf))
    return any(_height_and_width(leaf) == _height_and_width(image) for leaf in others)


class Sample:
    """Leaves of a sample, which may be replaced, and the label that the labels getter returns (or None).

    Raises `InputError` if there is no image.
    """

    def __init__(self, inputs: Any, labels_getter: LabelsGetter):
        self.leaves, self._structure = tree_flatten(inputs)
        self.image_places = _image_places(self.leaves)
        self._labels_getter = labels_getter
        self.label = labels_getter(inputs)

    def put_label(self, label: Any) -> None:
        """Replace the leaf that the labels getter returned; raise `InputError` if it is not a single leaf."""
        leaves, structure = self.leaves, self._structure
        places = [i for i, leaf in enumerate(leaves) if leaf is self.label]
        if len(places) > 1:  # equal small integers are one object in Python: replace each by a mark and search again
            mark = torch.tensor(0)
            marked = ([*leaves[:i], mark, *leaves[i + 1 :]] for i in places)
            found = [self._labels_getter(tree_unflatten(sample, structure)) is mark for sample in marked]
            places = [i for i, hit in zip(places, found, strict=True) if hit]
        if len(places) != 1:
            raise InputError(
                f"the policy makes soft labels, but the labels ({type(self.label).__name__}) that labels_getter gives "
                "are not a single element of the sample, so they cannot be replaced; expected one tensor per batch or "
                "one number per image"
            )
        leaves[places[0]] = label

    def rebuilt(self) -> Any:
        """Return the sample in its original structure, with the current leaves."""
        return tree_unflatten(self.leaves, self._structure)


def _image_places(leaves: list[Any]) -> list[int]:
    """Return the places of the images; as in torchvision, a plain tensor counts only if no leaf has an image type."""
    doubts = [_doubt(leaf) for leaf in leaves]
    least = min(doubts, default=math.inf)
    if least == math.inf:
        raise InputError(
            "LatentAugment found no image in its input; expected a PIL image, a tensor (C,H,W) or (B,C,H,W), or a "
            "numpy array (H,W,C)"
        )
    places = [i for i, doubt in enumerate(doubts) if doubt == least]
    return places if least == 0 else places[:1]


def _doubt(value: Any) -> float:
    """Return how uncertain it is that a leaf is an image: 0 for an image type, infinity if it is not an image.

    Plain tensors come before arrays (H,W,C), which torchvision does not change, and before arrays (H,W), which could be
    labels.
    """
    if isinstance(value, (PILImage.Image, tv_tensors.Image)):
        return 0
    if type(value) is torch.Tensor:
        return 1 if value.ndim >= 3 else math.inf
    if isinstance(value, np.ndarray) and holds_numbers(value) and 2 <= value.ndim <= 4:
        return 3 if value.ndim == 2 else 2
    return math.inf


def _height_and_width(image: Any) -> tuple[int, ...]:
    if isinstance(image, PILImage.Image):
        return image.height, image.width
    return tuple(image.shape[-2:] if isinstance(image, torch.Tensor) else image.shape[:2])


def _is_label(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return type(value) is torch.Tensor and not is_image(value)  # boxes and masks are not labels
    if isinstance(value, np.ndarray):
        return value.ndim < 3
    return isinstance(value, (int, float, np.integer, list))
