"""`Transformed`: a data set with transformed images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from .._internal.datasets import dataset_labels, fetch_items
from .._internal.each_image import transform_each
from .._internal.samples import image_to_tensor, split_item
from .wrapper import Around


class Transformed(Around):
    """Data set of items `(transform(image), label)`, transformed again at each access.

    dataset: map-style data set of items (image, label), or of images, whose label is then None. transform: called on a
    tensor (C,H,W), as those of torchvision. `v2.RandomAffine`, `v2.RandomCrop`, `v2.RandomHorizontalFlip`,
    `v2.ColorJitter` and a `Compose` of them are applied to a whole batch at once. They use torch's global generator.

    >>> from torchvision.transforms import v2
    >>> from augmentor.data import load_source
    >>> Transformed(load_source("digits"), v2.RandomAffine(10))[0][0].shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any]):
        super().__init__(dataset)
        self.transform, self.classes = transform, getattr(dataset, "classes", None)

    @cached_property
    def targets(self) -> torch.Tensor:
        """Labels of all items. Raises `DataError` if there are none."""
        return dataset_labels(self.dataset)

    def _items(self, indices: Sequence[int]) -> list[Any]:
        pairs = [split_item(item) for item in fetch_items(self.dataset, indices)]
        images = [image_to_tensor(image) for image, _ in pairs]
        if len({image.shape for image in images}) == 1:
            images = list(transform_each(self.transform, torch.stack(images)))
        else:
            images = [self.transform(image) for image in images]
        return [(image, label) for image, (_, label) in zip(images, pairs, strict=True)]
