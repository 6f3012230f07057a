"""Images of a data set as tensors of one shape and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._internal.batched import BatchedDataset
from .._internal.checks import to_unit_float
from .._internal.datasets import fetch_items, is_map_style
from .._internal.samples import image_to_tensor, split_item
from ..exceptions import DataError, InputError, ShapeError


class Images(BatchedDataset[torch.Tensor]):
    """Images of a map-style data set as tensors (C,H,W) of one shape and one dtype, uint8 or float32 in [0, 1].

    name: name of the data set in messages. Labels are ignored. Raises `ShapeError` for an image of another shape, and
    `InputError` for an image that is not uint8 if `dtype` is uint8.

    >>> Images([(torch.zeros(1, 8, 8), "cat")], "pets", (1, 8, 8), torch.float32)[0].shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, dataset: Any, name: str, shape: Sequence[int], dtype: torch.dtype):
        self.dataset, self.name, self.shape, self.dtype = dataset, name, tuple(shape), dtype

    def __len__(self) -> int:
        return len(self.dataset)

    def _items(self, indices: Sequence[int]) -> list[torch.Tensor]:
        items = fetch_items(self.dataset, indices)
        return [self._checked(_image(item), index) for item, index in zip(items, indices, strict=True)]

    def _checked(self, image: torch.Tensor, index: int) -> torch.Tensor:
        if tuple(image.shape) != self.shape:
            raise ShapeError(
                f"image {index} of {self.name} has shape {tuple(image.shape)}; expected {self.shape}, as the first "
                "labelled image: use v2.Resize for one size, and v2.RGB or v2.Grayscale for one number of channels"
            )
        if self.dtype == torch.float32:
            return to_unit_float(image)
        if image.dtype != torch.uint8:
            raise InputError(
                f"image {index} of {self.name} has dtype {image.dtype}; expected uint8, as the first image: add "
                "v2.ToDtype(torch.float32, scale=True) to the data set's transform"
            )
        return image


def images_alike(**sets: Any) -> list[Images]:
    """Return the images of each data set, all of one shape and dtype.

    All have the shape of the first image of the first data set. The dtype is uint8 if the first image of every data set
    is uint8, otherwise float32.

    sets: data sets by name. Raises `InputError` for a data set that is not map-style, `DataError` for an empty one.
    """
    firsts = [_first(dataset, name) for name, dataset in sets.items()]
    dtype = torch.uint8 if all(image.dtype == torch.uint8 for image in firsts) else torch.float32
    return [Images(dataset, name, firsts[0].shape, dtype) for name, dataset in sets.items()]


def _first(dataset: Any, name: str) -> torch.Tensor:
    if not is_map_style(dataset):
        raise InputError(
            f"{name} must be a map-style data set; got {type(dataset).__name__}, which has no length or no indices"
        )
    if len(dataset) == 0:
        raise DataError(f"{name} has no images; expected at least one")
    image = _image(fetch_items(dataset, [0])[0])
    if image.ndim != 3:
        raise ShapeError(f"{name} has items of shape {tuple(image.shape)}; expected images (C,H,W)")
    return image


def _image(item: Any) -> torch.Tensor:
    return image_to_tensor(split_item(item)[0])
