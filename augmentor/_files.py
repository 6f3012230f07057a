"""Whole or absent: what is written appears under its name only when it is complete and on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .exceptions import OutputError


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to a temporary name, flush it to the disk, rename it to `path`, flush the folder."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim_folder(folder: str | Path, marker: str) -> Path:
    """`folder` as a place to write: absent, empty, or holding `marker` from an earlier run of ours.

    Raises `OutputError` when it holds other things, which are left as they are.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder to write into: name another one")
    if folder.is_dir():
        others = sorted(p.name for p in folder.iterdir() if not p.name.endswith(".partial"))
        if others and marker not in others:
            raise OutputError(
                f"{folder} holds other things ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
                "expected an empty or new folder: name another one"
            )
    return folder
