"""Data sets that torchvision reads from its own folders."""

from __future__ import annotations

import torch

from ..._internal.files import absolute_path
from ...exceptions import DataError
from ..arrays import ArrayDataset
from ._base import Source, register_source


@register_source
class TorchvisionSets(Source):
    """Source of MNIST and CIFAR-10. Nothing is downloaded."""

    forms = ("mnist:ROOT", "cifar10:ROOT")
    has_splits = True

    def names(self, text: str) -> bool:
        kind, _, root = text.partition(":")
        return kind in ("mnist", "cifar10") and bool(root)

    def load(self, text: str, *, split: str, size: int | None) -> ArrayDataset:
        from torchvision import datasets

        kind, _, place = text.partition(":")
        root = str(absolute_path(place))
        reader = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[kind]
        try:
            data = reader(root, train=split == "train", download=False)
        except (RuntimeError, OSError, ValueError, AssertionError) as error:  # the last two from a damaged file
            raise DataError(
                f"found no {kind} under {root} that can be read ({type(error).__name__}: {error}); "
                'download it once: python -c "import torchvision; '
                f'torchvision.datasets.{reader.__name__}({root!r}, download=True)"'
            ) from error
        images = torch.as_tensor(data.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return ArrayDataset(images.contiguous(), torch.as_tensor(data.targets), [str(name) for name in data.classes])
