"""Feature extractors, images (B,C,H,W) => features (B,F), and the function that applies one to a data set.

Distances between sets of images are distances between their features. Published scores use Inception's features. For
small or grey images, features of an autoencoder or of a classifier of the same data are more informative. Scores are
comparable only if they were computed with the same extractor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .._internal.checks import check_range, to_unit_float
from .._internal.datasets import is_map_style
from .._internal.eval_mode import eval_mode
from .._internal.progress import progress_bar
from ..exceptions import DataError, InputError, ShapeError

Images: TypeAlias = "torch.Tensor | Dataset[Any]"
Extractor: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# Feature maps are averaged to at most this many cells per side, because an F x F covariance is estimated.
_LARGEST_MAP = 8


class Features(nn.Module):
    """Base class of extractors, which run without gradients and in eval mode; then each module's mode is restored.

    name: name of the extractor, which is recorded with its scores.

    >>> class Colours(Features):
    ...     def _features(self, images):
    ...         return to_unit_float(images).mean((2, 3))
    >>> Colours()(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 3])
    """

    name = "features"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 features (B, F) of images (B,C,H,W), uint8 or floating in [0, 1]."""
        with torch.no_grad(), eval_mode(self):
            features = self._features(images)
        if not isinstance(features, torch.Tensor):
            raise InputError(
                f"{type(self).__name__} takes a network whose output is one tensor, "
                f"got {type(features).__name__}; wrap it so that it returns only the features"
            )
        return features.flatten(1).float()

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class AutoencoderFeatures(Features):
    """The mean of an autoencoder's posterior, flattened.

    autoencoder: a module with ``encode(images).mean``. Latents that are feature maps are averaged to at most 8x8.
    The scores are too good if the same autoencoder decoded the generated images; use another one.

    >>> from types import SimpleNamespace
    >>> class Halves(nn.Module):
    ...     def encode(self, images):
    ...         return SimpleNamespace(mean=images[..., ::2, ::2])
    >>> AutoencoderFeatures(Halves())(torch.rand(4, 1, 32, 32)).shape
    torch.Size([4, 64])
    """

    name = "autoencoder"
    autoencoder: Any

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        if not callable(getattr(autoencoder, "encode", None)):
            raise InputError(
                f"AutoencoderFeatures takes a module with encode(images).mean, got "
                f"{type(autoencoder).__name__}; use ModuleFeatures for a plain network"
            )
        self.autoencoder = autoencoder

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        mean = self.autoencoder.encode(images).mean
        if mean.ndim == 4:
            height, width = (min(side, _LARGEST_MAP) for side in mean.shape[-2:])
            mean = F.adaptive_avg_pool2d(mean, (height, width))
        return mean


class ModuleFeatures(Features):
    """The output of any network, flattened, such as the last hidden layer of a classifier.

    module: takes float images in [0, 1]; if it needs normalised images, put ``v2.Normalize`` before it.

    >>> ModuleFeatures(nn.AvgPool2d(4))(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 12])
    """

    name = "module"

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        check_range(images, "ModuleFeatures")
        return self.module(to_unit_float(images))


def rgb(images: torch.Tensor, owner: str) -> torch.Tensor:
    """Convert grey or RGB images (B, 1 or 3, H, W) to (B,3,H,W) of the same dtype; raise `ShapeError` for others."""
    check_range(images, owner)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError(
            f"{owner} takes images (B, 1 or 3, H, W), got {tuple(images.shape)}; "
            "convert with v2.RGB(), or use another extractor"
        )
    return images.expand(-1, 3, -1, -1)


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Resize float images (B,C,H,W) to a shorter side of `side` pixels: bilinear, antialiased when they shrink."""
    shorter = min(images.shape[-2:])
    if side == shorter:
        return images
    size = [round(n * side / shorter) for n in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=side < shorter).clamp(0, 1)


def extract(
    features: Extractor,
    images: Images,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Return the features of all images, in order: float32 (N, F) on the CPU.

    features: an extractor of this module, or any function from images (B,C,H,W) to features (B, F).
    images: a tensor (N,C,H,W), or a map-style data set of images (C,H,W) or of (image, label).
    device: device of the computation, to which the extractor is moved. Default: the device of its weights.
    Raises `DataError` for an empty data set or one of the wrong kind, `ShapeError` for images or features of a wrong
    shape.

    >>> extract(ModuleFeatures(nn.AvgPool2d(4)), torch.rand(10, 1, 8, 8), batch_size=4).shape
    torch.Size([10, 4])
    """
    if isinstance(features, nn.Module):
        if device is not None:
            features.to(device)
        else:
            device = next((p.device for p in features.parameters()), None)
    if isinstance(images, torch.Tensor) and images.ndim != 4:
        raise ShapeError(f"expected images (N,C,H,W), got {tuple(images.shape)}; add or remove dimensions")
    dataset: Any = TensorDataset(images) if isinstance(images, torch.Tensor) else images
    if not is_map_style(dataset):
        raise DataError(f"expected a tensor of images (N,C,H,W) or a map-style data set, got {type(images).__name__}")
    if len(dataset) == 0:
        raise DataError("expected at least one image, got an empty data set")
    # Without a generator of its own the loader would advance the global one.
    loader = DataLoader(dataset, batch_size, collate_fn=_stack_images, generator=torch.Generator())
    rows: list[torch.Tensor] = []
    for batch in progress_bar(loader, desc="features", unit="batch", leave=False):
        if isinstance(features, Features):
            check_range(batch, type(features).__name__)  # on an accelerator the extractor does not check
        out = features(batch if device is None else batch.to(device))
        if out.ndim != 2 or len(out) != len(batch):
            raise ShapeError(
                f"expected features ({len(batch)}, F) of {len(batch)} images, got {tuple(out.shape)}; "
                "flatten them to one row per image"
            )
        rows.append(out.detach().float().cpu())
    return torch.cat(rows)


def num_channels(images: Images) -> int:
    """Return the number of channels of the first image."""
    return _stack_images([images[0]]).shape[1]


def _stack_images(items: Sequence[Any]) -> torch.Tensor:
    images = [item[0] if isinstance(item, (tuple, list)) else item for item in items]
    for image in images:
        if not isinstance(image, torch.Tensor) or image.ndim != 3:
            seen = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
            raise DataError(
                f"expected a data set of image tensors (C,H,W), or of tuples that begin with one, got {seen}; "
                "add v2.ToImage() to its transform"
            )
        if image.shape != images[0].shape:
            raise ShapeError(
                f"expected images of one size, got {tuple(images[0].shape)} and {tuple(image.shape)}; "
                "add v2.Resize to the data set's transform"
            )
    return torch.stack(images)
