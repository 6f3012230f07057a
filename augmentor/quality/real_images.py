"""Features of some real images, and a few of the images, which are stored for the gate while the data is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from .._internal.checks import Size, to_uint8
from ..exceptions import AugmentorWarning, DataError
from .smallnet import SmallNetFeatures
from .verdict import ANY, centre
from .view import HELD_OUT

# Maximum number of images that are reconstructed to assess the autoencoder. Large images are cropped to the centre.
_SHOWN = 256

Batches = Iterable[tuple[torch.Tensor, torch.Tensor | None]]


class RealImages:
    """Features of at most 2,000 real images, at equal steps through the data, and at most 256 of the images.

    The features are always those of `SmallNetFeatures`, so that the scores do not depend on the installed extras. For
    images with other than 1 or 3 channels no features are stored, and a warning is given. total: number of images, if
    known. device: device that computes the features. known: function that makes ignored labels of a batch negative.
    image_shape: (C,H,W) of the autoencoder, with None for any size.

    >>> real = RealImages()
    >>> len(list(real.watch([(torch.rand(5, 1, 8, 8), torch.arange(5))] * 2)))
    2
    >>> real.features.shape, real.labels
    (torch.Size([10, 120]), tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]))
    """

    def __init__(
        self,
        total: int | None = None,
        device: torch.device | str = "cpu",
        known: Callable[[torch.Tensor], torch.Tensor] | None = None,
        image_shape: Size = ANY,
    ):
        self._known, self._image_shape = known, image_shape
        self.extractor, self._device = SmallNetFeatures().to(device), torch.device(device)
        self.usable = True
        self._described, self._shown = _EqualSteps(HELD_OUT, total), _EqualSteps(_SHOWN, total)

    def watch(self, batches: Batches) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Yield the batches, images (B,C,H,W) and labels or None, unchanged, and store some of their rows."""
        for images, labels in batches:
            given, labels = labels, labels if labels is None or self._known is None else self._known(labels)
            rows = self._described.following(len(images))
            if len(rows) and self._describes(images):
                features = self.extractor(images[rows].to(self._device))
                self._described.keep(rows, features, None if labels is None else labels[rows])
            rows = self._shown.following(len(images))
            if len(rows):
                self._shown.keep(
                    rows, to_uint8(centre(images[rows], self._image_shape)), None if labels is None else labels[rows]
                )
            yield images, given

    def _describes(self, images: torch.Tensor) -> bool:
        if self.usable and images.shape[1] not in (1, 3):
            self.usable = False
            warnings.warn(
                f"the gate scores latents only: scores of pixels need images with 1 or 3 channels, and these have "
                f"{images.shape[1]}",
                AugmentorWarning,
                stacklevel=6,
            )
        return self.usable

    @property
    def features(self) -> torch.Tensor:
        """Features of the selected images, float32 (n,F), on the device."""
        return self._described.values()

    @property
    def labels(self) -> torch.Tensor | None:
        """Labels of these images: int64 (n,), float (n,K), or None if some images have none."""
        return self._described.labels()

    @property
    def rows(self) -> torch.Tensor:
        """Indices of these images in the data, int64 (n,)."""
        return torch.tensor([row for row, _, _ in self._described.kept])

    @property
    def shown(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """At most 256 images, uint8 (n,C,H,W), and their labels."""
        return self._shown.values(), self._shown.labels()


class _EqualSteps:
    """At most `most` rows of a stream, at equal steps.

    If the length is not known, the step doubles whenever there are too many rows.
    """

    def __init__(self, most: int, total: int | None):
        self._most, self._step, self._seen = most, max(1, -(-(total or 0) // most)), 0
        self.kept: list[tuple[int, torch.Tensor, torch.Tensor | None]] = []

    def following(self, count: int) -> torch.Tensor:
        """Return which of the next `count` rows are selected, int64 (n,)."""
        rows = torch.arange(-self._seen % self._step, count, self._step)
        self._start, self._seen = self._seen, self._seen + count
        return rows

    def keep(self, rows: torch.Tensor, values: torch.Tensor, labels: torch.Tensor | None) -> None:
        """Store the values and labels of the selected rows."""
        of = [None] * len(rows) if labels is None else list(labels)
        self.kept += zip((self._start + rows).tolist(), values, of, strict=True)
        while len(self.kept) > self._most:
            self.kept, self._step = self.kept[::2], 2 * self._step

    def values(self) -> torch.Tensor:
        if not self.kept:
            raise DataError("got no images for the gate; expected a data set or an iterable of batches")
        return torch.stack([value for _, value, _ in self.kept])

    def labels(self) -> torch.Tensor | None:
        found: list[Any] = [label for _, _, label in self.kept]
        return None if any(label is None for label in found) else torch.stack(found)
