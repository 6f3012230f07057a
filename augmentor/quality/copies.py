"""Detection of generated images that are copies of real ones.

FID does not detect copies: it is lowest for a generator that has memorised its training data.

Each generated image is compared with the nearest real images, and its distance with the distances between real images
(Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying in generative
models").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..exceptions import InputError
from ..latents import SAME, ReferenceSet
from .features import Extractor, Images, extract
from .frechet import checked_pair

# Distances between real images are computed for at most this many images, at equal steps through the set.
_HELD_OUT = 2000


@dataclass(frozen=True)
class Copies:
    """Generated images (N) and the k nearest real images of each.

    distance: (N,k), ascending: root mean square over the features, each with standard deviation 1 over the real images.
    rows: int64 (N,k), indices of the real images. novelty: (N,) in [0, 1], the fraction of real images that are at
    least as near to another real image, and 0 for an exact copy, as in `QualityGate`. real_distance: distance of real
    images to the nearest other real image.
    """

    distance: torch.Tensor
    rows: torch.Tensor
    novelty: torch.Tensor
    real_distance: torch.Tensor

    def summary(self) -> dict[str, Any]:
        """Return statistics of the generated images, and under `floor` those of real images against the others.

        exact: number of images whose features equal those of a real image. nearer_than_99_percent: fraction of
        generated images whose distance to the nearest real image is smaller than that of 99 % of the real images to
        their nearest other real image. nearer_than_all: the same for 100 %. median_distance: median distance to the
        nearest real image.
        """
        floor = _novelty(self.real_distance, self.real_distance)
        return {
            **_figures(self.distance[:, 0], self.novelty),
            "floor": _figures(self.real_distance, floor),
        }

    def __str__(self) -> str:
        mine, floor = self.summary(), self.summary()["floor"]
        return (
            f"{mine['exact']} of {mine['images']} are the same as a real image; {mine['nearer_than_99_percent']:.1%} "
            f"are nearer to a real image than 99 % of the real images are to another "
            f"(real images: {floor['nearer_than_99_percent']:.1%})"
        )


def find_copies(
    generated: Images,
    real: Images,
    features: Extractor,
    *,
    k: int = 3,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> Copies:
    """Find the nearest real images of each generated image, and compare the distances with those of real images.

    generated, real: tensors (N,C,H,W) or map-style data sets, as in `extract`; `real` should contain all training
    images of the generator. features: the extractor, such as `AutoencoderFeatures`. k: number of nearest real images
    to find, at least 1. batch_size: number of images per call of the extractor. device: device of the computation, to
    which the extractor is moved. Default: the device of its weights. Raises the errors of `compare`.

    >>> real = torch.rand(60, 1, 8, 8)
    >>> found = find_copies(real[:20], real, torch.nn.Flatten())
    >>> found.summary()["exact"], found.rows[:3, 0]
    (20, tensor([0, 1, 2]))
    """
    if k < 1:
        raise InputError(f"k is the number of nearest real images to find, at least 1; got {k}")
    made, reals = checked_pair(
        extract(features, generated, batch_size, device), extract(features, real, batch_size, device)
    )
    mean, deviation = reals.mean(0), reals.std(0)
    scale = torch.where(deviation > 1e-6, 1 / deviation, 0)  # constant features are ignored
    reference = ReferenceSet((reals - mean) * scale)  # without labels the order does not change
    held_out = reference.z[:: -(-len(reference) // _HELD_OUT)]
    among_real, _ = reference.nearest(held_out, 2)  # the first is the image itself
    distance, rows = reference.nearest((made - mean) * scale, k)
    return Copies(distance, rows, _novelty(distance[:, 0], among_real[:, 1]), among_real[:, 1])


def _figures(distance: torch.Tensor, novelty: torch.Tensor) -> dict[str, float | int]:
    return {
        "images": len(distance),
        "exact": int((distance < SAME).sum()),
        "nearer_than_all": float((novelty == 0).double().mean()),
        "nearer_than_99_percent": float((novelty < 0.01).double().mean()),
        "median_distance": float(distance.median()),
    }


def _novelty(distance: torch.Tensor, real_distance: torch.Tensor) -> torch.Tensor:
    """Return the fraction of real images that are as near to another; 0 for copies, even if real images repeat."""
    as_near = torch.searchsorted(real_distance.sort().values, distance.contiguous(), right=True)
    return (as_near / len(real_distance)).masked_fill(distance < SAME, 0)
