"""Check whether the autoencoder of a transform reconstructs the first images well enough."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.utils.data import get_worker_info

from .._internal.checks import to_unit_float
from ..exceptions import AugmentorWarning
from ..quality.verdict import POOR, Verdict, assess, centre, pooled
from .pretrained import GENERAL

# Minimum number of images for a verdict, and maximum number of images used from one batch.
LEAST, MOST = 8, 16


class FirstLook:
    """Assessment of an autoencoder on the first images; warns once per process if it reconstructs them poorly."""

    def __init__(self) -> None:
        self._images: list[torch.Tensor] = []  # batches so far, each of one shape
        self.verdict: Verdict | None = None

    def at(self, images: torch.Tensor, autoencoder: Any, name: str) -> None:
        """Add images (B,C,H,W), where B may be 0, and compute the verdict once there are enough."""
        in_worker = get_worker_info() is not None
        if not len(images) or (in_worker and autoencoder.device.type != "cpu"):
            return
        some = to_unit_float(centre(images.detach()[:MOST], autoencoder.image_shape)).cpu().clone()
        if self._images and torch.equal(some, self._images[-1]):
            return  # a transform calls this more than once with the same images
        self._images.append(some)
        if sum(map(len, self._images)) >= LEAST:
            of_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for each in self._images:
                of_shape.setdefault(each.shape[1:], []).append(each)
            self.verdict = pooled([assess(autoencoder, torch.cat(alike)) for alike in of_shape.values()])
            self._images = []
            if self.verdict.word == POOR:
                warnings.warn(poor_message(name, self.verdict), AugmentorWarning, stacklevel=6)


def poor_message(name: str, verdict: Verdict) -> str:
    """Return the text of the warning: the problem and what to do."""
    other = "" if name == GENERAL else f"use another one, such as {GENERAL!r}, or "
    return (
        f"autoencoder {name!r} reconstructs these images poorly, so augmentation with it is likely to be harmful "
        f"({verdict}); {other}train one on your images: augmentor train-autoencoder"
    )
