"""Folder of the pretrained weights that are part of the package."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..exceptions import WeightsError
from .files import sha256_file
from .weights import named_weights


@functools.cache
def pretrained_folder() -> Path:
    """Return the folder of the pretrained models: `augmentor/_pretrained` in a wheel, `pretrained` in a checkout."""
    inside = Path(str(files("augmentor"))) / "_pretrained"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "pretrained"


def pretrained_card(folder: Path) -> dict[str, Any]:
    """Return the card of a pretrained model; raise `WeightsError` if there is none."""
    try:
        return json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"the card of {folder.name!r} is missing; reinstall the package") from error


def pretrained_weights(folder: Path, file: str, sha256: str) -> Path:
    """Return the path of the weights of a pretrained model; raise `WeightsError` if the checksum differs."""
    path = folder / file
    if not path.exists() or sha256_file(path) != sha256:
        raise WeightsError(
            f"the weights of {folder.name!r} are missing or do not match their checksum; reinstall the package"
        )
    return path


@dataclass(frozen=True)
class PretrainedModels:
    """Pretrained models of one kind: folders that contain a card and the weights file `file`.

    kind: name of the kind in messages. file: file name of the weights, also in the folder of a training run.
    """

    kind: str
    file: str

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(weights.parent.name for weights in pretrained_folder().glob(f"*/{self.file}"))

    def card(self, name: str) -> dict[str, Any]:
        """Return the data, licence, command, scores and checksum of a pretrained model."""
        return pretrained_card(pretrained_folder() / name)

    def full_name(self, name_or_path: str | Path) -> str:
        """Return a name unchanged and a path as an absolute path, valid in any working directory.

        Raises `UnknownNameError` if it is neither a name nor the path of a weights file.
        """
        name = str(name_or_path)
        return name if name in self.names() else str(named_weights(self.kind, name, self.file, self.names()))

    def weights(self, name_or_path: str | Path) -> Path:
        """Return the weights file of a name or path; raise `WeightsError` if that of a name does not match its card."""
        name = self.full_name(name_or_path)
        if name not in self.names():
            return Path(name)
        return pretrained_weights(pretrained_folder() / name, self.file, self.card(name)["sha256"])
