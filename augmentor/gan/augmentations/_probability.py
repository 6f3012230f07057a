"""How often an image is augmented: a fixed probability, a falling one, or one that follows the discriminator."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from ..._internal.registry import build, describe
from ...exceptions import InputError


class FixedP:
    """Always `value`."""

    name: ClassVar[str] = "fixed"
    watches: ClassVar[bool] = False  # whether `observe` does anything
    needs_signs: ClassVar[bool] = False  # whether it looks at the signs that it is told

    def __init__(self, value: float = 1.0):
        if not 0 <= value <= 1:
            raise InputError(f"p is a probability between 0 and 1, got {value}")
        self.value = value

    def observe(self, real_sign: torch.Tensor, images: int) -> None:
        """Take note of the mean sign of the discriminator's logits on real images, and how many there were."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    def __str__(self) -> str:
        return repr(self.value)


class AdaptiveP(FixedP):
    """Karras et al. 2020 (ADA), eq. 1: ``r = E[sign D(real)]`` tells how much the discriminator overfits.

    Every few batches p rises if r is above `target`, and falls otherwise.

    target: of r; 0.6 in the paper. images: real images that take p from 0 to 1; 500,000 in the paper, fewer for short
    runs. every: batches between adjustments; the host waits for the device only then. start: the first p.

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
                "adaptive p takes a target between -1 and 1, images and every of at least 1, and start in [0, 1]; "
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
    """Falls from `start` to 0 in so many real images, in a straight line, so that a run ends on images as they are.

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
            raise InputError(f"annealed p takes images of at least 1, got {images}")
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
    """A number, also as a text, a text such as ``"adaptive(images=50000)"``, or one of these as it is.

    >>> get_probability(0.5).value
    0.5
    """
    if isinstance(p, str):
        try:
            p = float(p)
        except ValueError:
            return build("probability", PROBABILITIES, p)  # type: ignore[arg-type]
    return p if isinstance(p, FixedP) else FixedP(p)
