"""Loading of diffusers models from a folder or a hub. Only safetensors are read; diffusers is imported when used."""

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
    """Return the diffusers module; raise `InputError` if it is not installed. what: the feature that needs it."""
    try:
        import diffusers
    except ImportError as error:
        raise InputError(f"{what} requires diffusers: pip install 'latent-augmentor[diffusers]'") from error
    return diffusers


def full_place(place: str | Path) -> str:
    """Return the absolute path of a folder, or a repository name unchanged; raise `InputError` for ``"<OBJECT>"``."""
    if str(place).startswith("<"):  # from the string form of a policy with a pipeline object
        raise InputError(
            f"{place} is an object without a string form; save it with save_pretrained and give the folder"
        )
    folder = absolute_path(place)
    return str(folder) if os.path.isdir(folder) else str(place)


def load(what: str, place: str | Path, read: Callable[..., Any]) -> Any:
    """Return ``read(name)``, or ``read(name, subfolder=...)``, for a place.

    place: a folder written by `save_pretrained`, a repository on the hub, ``"owner/name"``, or a folder in it,
    ``"owner/name/folder"``. Raises `WeightsError` if it does not exist, cannot be reached or cannot be read.
    """
    name, subfolder = full_place(place), {}
    if not os.path.isdir(name):
        owner, _, rest = name.partition("/")
        repository, _, inside = rest.partition("/")
        name, subfolder = f"{owner}/{repository}" if rest else owner, {"subfolder": inside} if inside else {}
    try:
        with warnings.catch_warnings(action="ignore"):  # about calls of the hub client inside diffusers
            return read(name, **subfolder)
    except Exception as error:  # the hub client has its own exception classes
        raise WeightsError(
            f"cannot load the diffusers {what} {str(place)!r}: {first_line(error)}; expected a folder that "
            "save_pretrained wrote as safetensors, or the name of a repository on a hub that can be reached"
        ) from error


def load_pipeline(kind: Any, place: str | Path, revision: str | None, **how: Any) -> Any:
    """Load a pipeline of class `kind` from a place; see `load`."""
    how |= {"use_safetensors": True, "revision": revision}
    return load("pipeline", place, lambda name, **inside: kind.from_pretrained(name, **inside, **how))


def model_line(place: str, revision: str | None) -> str:
    """Return the place, its revision and the licence in its model card as one line."""
    from huggingface_hub import ModelCard  # diffusers depends on it

    card = Path(place) / "README.md"
    try:
        licence = ModelCard.load(card if Path(place).is_dir() else place).data.license
    except Exception:  # no card, no connection, or a card that cannot be read
        licence = None
    return f"{place} revision {revision or 'not given'}, licence {licence or 'not stated'}"


def first_line(error: Exception) -> str:
    """Return the first line of an error message, at most 300 characters; the error type if there is no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:;")[:300] if lines else type(error).__name__
