"""Encoding of a whole data set to raw latents, with its labels."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from .._internal.datasets import batches, num_samples
from .._internal.progress import progress_bar
from ..exceptions import DataError
from .batch import Posterior as RawPosterior

# Maximum number of values in images encoded at once; a batch of large images could fill the memory.
_AT_ONCE = 1 << 24


class Encoder(Protocol):
    """Interface of an autoencoder for `encode_all`."""

    @property
    def device(self) -> torch.device: ...

    def encode(self, images: torch.Tensor) -> RawPosterior: ...

    def state_dict(self) -> dict[str, Any]: ...


@torch.no_grad()
def encode_all(
    autoencoder: Encoder,
    data: Any,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    total: int | None = None,
) -> tuple[RawPosterior, torch.Tensor | None]:
    """Return raw latents (N, *L) on a device, and the labels on the CPU, or None if a batch has no labels.

    data: a map-style data set or an iterable of batches. device: default: that of the autoencoder. total: number of
    images in an iterable, for the progress bar. Raises `DataError` without images, or for images of several sizes.
    """
    means, stds, found = [], [], []
    total = num_samples(data) if total is None else total
    with progress_bar(desc="encoding", unit="image", total=total, leave=False) as bar:
        for images, labels in batches(data, batch_size):
            for part in images.split(max(1, _AT_ONCE // images.shape[1:].numel())):
                mean, std = autoencoder.encode(part.to(autoencoder.device))
                means.append(mean.to(device or mean.device))
                stds += [] if std is None else [std.to(device or std.device)]
                bar.update(len(part))
            found.append(labels)
    if not means:
        raise DataError("got no images to encode; expected a data set or an iterable of batches")
    shapes = {tuple(mean.shape[1:]) for mean in means}
    if len(shapes) > 1:
        raise DataError(f"got images of different sizes (latents {sorted(shapes)}); resize them to one size")
    labelled = [labels for labels in found if labels is not None]
    raw = RawPosterior(torch.cat(means), torch.cat(stds) if stds else None)
    return raw, torch.cat(labelled) if len(labelled) == len(found) else None
