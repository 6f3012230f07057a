"""Probability with which an image is augmented: fixed, linearly decreasing, or adapted to the discriminator."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from ..._internal.registry import build, describe
from ...exceptions import InputError


class FixedP:
    """Constant probability `value`, and base of the others."""

    name: ClassVar[str] = "fixed"
    watches: ClassVar[bool] = False  # whether `observe` has an effect
    needs_signs: ClassVar[bool] = False  # whether `observe` uses the signs

    def __init__(self, value: float = 1.0):
        if not 0 <= value <= 1:
            raise InputError(f"p must be a probability between 0 and 1, got {value}")
        self.value = value

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        """Update `value`: real_sign, the mean sign of the logits of real images; images, their number."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""

    def __str__(self) -> str:
        return repr(self.value)


class AdaptiveP(FixedP):
    """Probability that follows ``r = E[sign D(real)]``, a measure of overfitting (ADA, Karras et al. 2020, eq. 1).

    p increases if r is above `target`, and decreases otherwise.

    target: target value of r; 0.6 in the paper. images: number of real images in which p can change from 0 to 1;
    500,000 in the paper, use fewer for short runs. every: number of batches between updates; the host waits for the
    device only at these. start: initial p.

    >>> p = AdaptiveP(images=100, every=1)
    >>> p.observe(torch.tensor(0.9), images=10)
    >>> p.value
    0.1
    """

    name = "adaptive"
    watches = True
    needs_signs = True

    def __init__(self, target: float = 0.6, images: int = 500_000, every: int = 4, start: float = 0.0):
        if not (-1 < target < 1 and math.isfinite(target)) or images < 1 or every < 1 or not 0 <= start <= 1:
            raise InputError(
                "adaptive p takes target between -1 and 1, images >= 1, every >= 1, and start in [0, 1]; "
                f"got {target}, {images}, {every} and {start}"
            )
        self.target, self.images, self.every, self.start = target, images, every, start
        self.value = float(start)
        self._signs: list[torch.Tensor] = []
        self._seen = 0

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        self._signs.append(real_sign.detach())
        self._seen += images
        if len(self._signs) == self.every:
            r = float(torch.stack([sign.to(real_sign.device) for sign in self._signs]).mean())
            step = math.copysign(self._seen / self.images, r - self.target)
            self.value = min(1.0, max(0.0, self.value + step))
            self._signs, self._seen = [], 0

    def __str__(self) -> str:
        return describe(self)

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "signs": [float(sign) for sign in self._signs], "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self._seen = state["value"], state["seen"]
        self._signs = [torch.tensor(sign) for sign in state["signs"]]


class AnnealedP(FixedP):
    """Probability that decreases linearly from `start` to 0 over `images` real images.

    >>> p = AnnealedP(start=0.5, images=100)
    >>> p.observe(torch.tensor(0.0), images=50)
    >>> p.value
    0.25
    """

    name = "annealed"
    watches = True

    def __init__(self, start: float = 0.5, images: int = 500_000):
        super().__init__(start)
        if images < 1:
            raise InputError(f"annealed p takes images >= 1, got {images}")
        self.start, self.images, self._seen = start, images, 0

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        self._seen += images
        self.value = self.start * max(0.0, 1 - self._seen / self.images)

    def __str__(self) -> str:
        return describe(self)

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self._seen = state["value"], state["seen"]


PROBABILITIES: dict[str, type[FixedP]] = {member.name: member for member in (FixedP, AdaptiveP, AnnealedP)}


def get_probability(p: float | str | FixedP) -> FixedP:
    """Return the probability for a number, or for a string such as ``"0.5"`` or ``"adaptive(images=50000)"``.

    A `FixedP` is returned unchanged.

    >>> get_probability(0.5).value
    0.5
    """
    if isinstance(p, str):
        try:
            p = float(p)
        except ValueError:
            return build("probability", PROBABILITIES, p)  # type: ignore[arg-type]
    return p if isinstance(p, FixedP) else FixedP(p)
