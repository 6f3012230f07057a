"""The folder of the weights that come with the package."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..exceptions import WeightsError
from .files import sha256_file


@functools.cache
def pretrained_folder() -> Path:
    """Where the pretrained models are: `augmentor/_pretrained` in a wheel, `pretrained` in a checkout."""
    inside = Path(str(files("augmentor"))) / "_pretrained"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "pretrained"


def pretrained_card(folder: Path) -> dict[str, Any]:
    """The card in the folder of a pretrained model; `WeightsError` if there is none."""
    try:
        return json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"the card of {folder.name!r} is missing; install the package again") from error


def pretrained_weights(folder: Path, file: str, sha256: str) -> Path:
    """The path of a weights file in the folder of a pretrained model; `WeightsError` if its checksum is another."""
    path = folder / file
    if not path.exists() or sha256_file(path) != sha256:
        raise WeightsError(
            f"the weights of {folder.name!r} are missing or do not match their checksum; install the package again"
        )
    return path
