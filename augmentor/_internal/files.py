"""Reading and writing of files: a file appears under its name only when it is complete and on the disk."""

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

# Windows has the last of these alone, and would else translate line ends.
_READ_FLAGS = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def absolute_path(path: str | Path) -> Path:
    """`path` with ``~`` expanded, and absolute: it names the same place after `os.chdir` and in other processes."""
    return Path(os.path.expanduser(path)).absolute()


def write_bytes(path: str | Path, data: bytes, *, shared: bool = False) -> None:
    """Write `data` to a temporary name, flush it to the disk, rename it to `path`, flush the folder.

    shared: other processes may write this file at the same time, so each takes a temporary name of its own. These
    names end in ``.partial``. A killed process leaves its file behind; if another process deletes one that is in use,
    it is written again.
    """
    path = Path(path)
    if not path.name:
        raise OutputError(f"cannot write {str(path)!r}: it is a folder; expected the name of a file")
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
    """Flush the names in a folder to the disk; nothing on Windows, which opens no folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a file for reading that may come from somebody else; `OSError` for a link, a pipe or a device.

    A link could name any file of the user, and opening a pipe could wait forever.
    """
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
        raise OSError(errno.ELOOP, "it is a link", str(path))
    handle = os.open(path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(handle, "rb")


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim_folder(folder: str | Path, *markers: str) -> Path:
    """`folder` as a place to write: absent, empty, or holding a file from an earlier run of ours.

    markers: patterns of such files' names.

    Raises `OutputError` when it holds other things, which are left as they are.
    """
    folder = absolute_path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder to write into: name another one")
    if folder.is_dir():
        others = sorted(p.name for p in folder.iterdir() if not p.name.endswith(".partial"))
        if others and not any(fnmatch(name, marker) for name in others for marker in markers):
            raise OutputError(
                f"{folder} holds other things ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
                "expected an empty or new folder: name another one"
            )
    return folder
