"""Models of diffusers from a folder or a hub. Only safetensors are read. diffusers itself is imported when used."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..exceptions import InputError, WeightsError
from .files import absolute_path

PREFIX = "diffusers:"


def installed(what: str) -> Any:
    """The library; `InputError`, where it is not installed, that says what needs it."""
    try:
        import diffusers
    except ImportError as error:
        raise InputError(f"{what} needs diffusers: pip install 'latent-augmentor[diffusers]'") from error
    return diffusers


def full_place(place: str | Path) -> str:
    """The same, so that it means the same in any folder: a folder's absolute path, or a repository as it is."""
    folder = absolute_path(place)
    return str(folder) if os.path.isdir(folder) else str(place)


def load(what: str, place: str | Path, read: Callable[..., Any]) -> Any:
    """What `read` makes of this place, given as diffusers takes it: a name, and `subfolder` if it has one.

    place: a folder that `save_pretrained` wrote, a repository on the hub, ``"owner/name"``, or with further parts a
    folder inside the repository. Raises `WeightsError` for what is not there, cannot be reached, or cannot be read.
    """
    name, subfolder = full_place(place), {}
    if not os.path.isdir(name):
        owner, _, rest = name.partition("/")
        repository, _, inside = rest.partition("/")
        name, subfolder = f"{owner}/{repository}" if rest else owner, {"subfolder": inside} if inside else {}
    try:
        with warnings.catch_warnings(action="ignore"):  # diffusers about how it calls the hub's client
            return read(name, **subfolder)
    except Exception as error:  # whatever the hub's client raises: it has trees of its own
        raise WeightsError(
            f"cannot load the diffusers {what} {str(place)!r}: {first_line(error)}; expected a folder that "
            "save_pretrained wrote as safetensors, or the name of a repository on a hub that can be reached"
        ) from error


def load_pipeline(kind: Any, place: str | Path, revision: str | None, **how: Any) -> Any:
    """A pipeline of this class of diffusers from a place, as `load`."""
    how |= {"use_safetensors": True, "revision": revision}
    return load("pipeline", place, lambda name, **inside: kind.from_pretrained(name, **inside, **how))


def model_line(place: str, revision: str | None) -> str:
    """In one line: the place, its revision, and the licence that its model card states."""
    from huggingface_hub import ModelCard  # diffusers depends on it

    card = Path(place) / "README.md"
    try:
        licence = ModelCard.load(card if Path(place).is_dir() else place).data.license
    except Exception:  # no card, no connection, or a card that cannot be read
        licence = None
    return f"{place} revision {revision or 'not given'}, licence {licence or 'not stated'}"


def first_line(error: Exception) -> str:
    """The first line of its message, at most 300 characters; its type if there is none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:;")[:300] if lines else type(error).__name__
