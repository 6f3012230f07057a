"""Settings of the page."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from ..._internal.registry import did_you_mean
from ...exceptions import InputError

# Largest exact integer in JavaScript, where all numbers are floating.
_LARGEST_SEED = 2**53 - 1
_PICKS = ("classes", "random")


@dataclass(frozen=True)
class Settings:
    """Settings of a view. Raises `InputError` for an invalid value.

    data, split, size: as for `augmentor.data.load_source`. autoencoder: a name, a weights file, or "auto". policy: its
    text, or "auto". residual: as for `LatentAugment`, 0 to 1, or None for "auto". keep: `keep` of the gate, 0 to 1; a
    higher value passes more samples. redraw: whether the gate redraws rejected samples; if not, it only shows the
    failed checks. seed: seed of the noise, and of the selection if `pick` is "random"; "classes" selects the first
    images of each class in turn. images: number of originals, 1 to 16. copies: number of samples per original, 1 to 8.
    original, copy: the selected sample, counted from 0.
    """

    data: str = "digits"
    split: str = "train"
    size: int | None = None
    autoencoder: str = "auto"
    policy: str = "gaussian(std=0.5)"
    residual: float | None = None
    keep: float = 0.95
    redraw: bool = False
    seed: int = 0
    pick: str = "classes"
    images: int = 8
    copies: int = 4
    original: int = 0
    copy: int = 0

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(Settings).items():
            value = getattr(self, name)
            kinds = typing.get_args(kind) or (kind,)
            if type(value) is int and float in kinds:
                object.__setattr__(self, name, float(value))
            elif type(value) not in kinds:
                raise InputError(f"{name} is {value!r}; expected {getattr(kind, '__name__', kind)}")
        ranges = {
            "images": (1, 16), "copies": (1, 8), "residual": (0, 1), "keep": (0, 1), "seed": (0, _LARGEST_SEED),
            "original": (0, 15), "copy": (0, 7),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high:
                raise InputError(f"{name} must be from {low} to {high}; got {getattr(self, name)}")
        if self.pick not in _PICKS:
            raise InputError(f"pick must be 'classes' or 'random'; got {self.pick!r}")

    @classmethod
    def read(cls, document: Any) -> Settings:
        """Return the settings from plain JSON values; missing entries have their default."""
        if not isinstance(document, dict):
            raise InputError(f"settings must be a dict; got {type(document).__name__}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in document:
            if name not in known:
                raise InputError(f"unknown setting {name!r}{did_you_mean(name, known)}")
        return cls(**document)

    def document(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self)
