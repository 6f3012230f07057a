"""The first images that a transform is used on, and whether its autoencoder reconstructs them well enough."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.utils.data import get_worker_info

from .._internal.checks import to_unit_float
from ..exceptions import AugmentorWarning
from ..quality.verdict import POOR, Verdict, assess, centre, pooled

# The verdict is on so many images at least, where they come one by one, and at most, where they come in a batch.
LEAST, MOST = 8, 64


class FirstLook:
    """Assesses an autoencoder on the first images, and warns once if it reconstructs them poorly."""

    def __init__(self) -> None:
        self._images: list[torch.Tensor] = []  # seen so far, of one shape each
        self._last = 0  # where those are that came last
        self.verdict: Verdict | None = None

    def at(self, images: torch.Tensor, autoencoder: Any, name: str) -> None:
        """Look at images (B,C,H,W), unless enough were seen."""
        if self.verdict is not None or (autoencoder.device.type != "cpu" and get_worker_info() is not None):
            return
        if images.data_ptr() == self._last:
            return  # a transform comes by with the same images more than once
        self._last = images.data_ptr()
        self._images.append(to_unit_float(centre(images.detach()[:MOST])).clone())
        if sum(map(len, self._images)) >= LEAST:
            of_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for some in self._images:
                of_shape.setdefault(some.shape[1:], []).append(some)
            self.verdict = pooled([assess(autoencoder, torch.cat(some)) for some in of_shape.values()])
            self._images = []
            if self.verdict.word == POOR:
                warnings.warn(poor_message(name, self.verdict), AugmentorWarning, stacklevel=6)


def poor_message(name: str, verdict: Verdict) -> str:
    """What is wrong, and what to do."""
    return (
        f"autoencoder {name!r} reconstructs these images poorly, so augmentation with it is likely to do harm "
        f"({verdict}); take another one, such as 'natural', or train one on your images: augmentor train-autoencoder"
    )
