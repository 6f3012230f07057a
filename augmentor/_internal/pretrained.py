"""The folder of the weights that come with the package."""

from __future__ import annotations

import functools
from importlib.resources import files
from pathlib import Path


@functools.cache
def pretrained_folder() -> Path:
    """Where the pretrained models are: `augmentor/_pretrained` in a wheel, `pretrained` in a checkout."""
    inside = Path(str(files("augmentor"))) / "_pretrained"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "pretrained"
