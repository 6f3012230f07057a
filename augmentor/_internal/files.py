"""Reading and writing of files: a file gets its name only after it is complete and flushed to the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import stat
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..exceptions import OutputError

# Windows has only O_BINARY (without it, line ends are translated).
_READ_FLAGS = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def absolute_path(path: str | Path) -> Path:
    """Return an absolute path with ``~`` expanded, valid after `os.chdir` and in other processes."""
    return Path(os.path.expanduser(path)).absolute()


def write_bytes(path: str | Path, data: bytes, *, shared: bool = False) -> None:
    """Write `data` to a temporary name, flush it to the disk, rename it to `path`, flush the folder.

    shared: whether other processes may write this file at the same time; then each uses its own temporary name.
    Temporary names end in ``.partial``. A killed process leaves its temporary file. If another process deletes a
    temporary file that is in use, it is written again.
    """
    path = Path(path)
    if not path.name:
        raise OutputError(f"cannot write {str(path)!r}: it is a folder; expected a file name")
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            flush_folder(path.parent.parent)
        for attempts_left in reversed(range(5 if shared else 1)):
            own = f".{secrets.token_hex(4)}" if shared else ""
            partial = path.with_name(f".{path.name}{own}.partial")
            try:
                _write_over(partial, path, data)
                break
            except FileNotFoundError:
                if not attempts_left:
                    raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _write_over(partial: Path, path: Path, data: bytes) -> None:
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        flush_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; does nothing on Windows, where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, completely or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open an untrusted file for reading; raise `OSError` for a link, a pipe or a device.

    A link could point to any file of the user, and opening a pipe could block forever.
    """
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
        raise OSError(errno.ELOOP, "it is a link", str(path))
    handle = os.open(path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(handle, "rb")


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim_folder(folder: str | Path, *markers: str) -> Path:
    """Return the absolute path of an output folder that is new, empty or written by an earlier run.

    markers: file name patterns that identify an earlier run.

    Raises `OutputError` if the folder holds other files; they are not changed.
    """
    folder = absolute_path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected an output folder: choose another one")
    if folder.is_dir():
        others = sorted(p.name for p in folder.iterdir() if not p.name.endswith(".partial"))
        if others and not any(fnmatch(name, marker) for name in others for marker in markers):
            raise OutputError(
                f"{folder} holds other files ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
                "expected an empty or new folder: choose another one"
            )
    return folder
