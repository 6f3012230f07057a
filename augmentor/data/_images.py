"""The images of a data set, all of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from .._internal.checks import to_unit_float
from .._internal.datasets import fetch_items, is_map_style
from .._internal.samples import image_to_tensor, split_item
from ..exceptions import DataError, InputError, ShapeError


class Images(Dataset[torch.Tensor]):
    """The images of a map-style data set as tensors (C,H,W) of one shape and one type, uint8 or float32 in [0, 1].

    name: of the data set, for messages. Its labels are not looked at. Raises `ShapeError` for an image of another
    shape, and `InputError` for one that is not uint8 where all are to be.

    >>> Images([(torch.zeros(1, 8, 8), "cat")], "pets", (1, 8, 8), torch.float32)[0].shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, dataset: Any, name: str, shape: Sequence[int], dtype: torch.dtype):
        self.dataset, self.name, self.shape, self.dtype = dataset, name, tuple(shape), dtype

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[torch.Tensor]:
        """The images of these numbers."""
        items = fetch_items(self.dataset, indices)
        return [self._checked(_image(item), index) for item, index in zip(items, indices, strict=True)]

    def _checked(self, image: torch.Tensor, index: int) -> torch.Tensor:
        if tuple(image.shape) != self.shape:
            raise ShapeError(
                f"image {index} of {self.name} is {tuple(image.shape)}; expected {self.shape}, as the first labelled "
                "one: bring all to one size with v2.Resize, and to one number of channels with v2.RGB or v2.Grayscale"
            )
        if self.dtype == torch.float32:
            return to_unit_float(image)
        if image.dtype != torch.uint8:
            raise InputError(
                f"image {index} of {self.name} is {image.dtype}, and the first uint8; expected one type: add "
                "v2.ToDtype(torch.float32, scale=True) to the data set's transform"
            )
        return image


def images_alike(**sets: Any) -> list[Images]:
    """The images of these data sets, each under its name: of the shape of the very first, and uint8 if all are.

    Raises `InputError` for a data set that is not map-style, `DataError` for an empty one.
    """
    firsts = [_first(dataset, name) for name, dataset in sets.items()]
    dtype = torch.uint8 if all(image.dtype == torch.uint8 for image in firsts) else torch.float32
    return [Images(dataset, name, firsts[0].shape, dtype) for name, dataset in sets.items()]


def _first(dataset: Any, name: str) -> torch.Tensor:
    if not is_map_style(dataset):
        raise InputError(
            f"{name} is a map-style data set, got {type(dataset).__name__}, which has no length or no indices"
        )
    if len(dataset) == 0:
        raise DataError(f"{name} has no images; expected at least one")
    image = _image(fetch_items(dataset, [0])[0])
    if image.ndim != 3:
        raise ShapeError(f"{name} has items of shape {tuple(image.shape)}; expected images (C,H,W)")
    return image


def _image(item: Any) -> torch.Tensor:
    return image_to_tensor(split_item(item)[0])
