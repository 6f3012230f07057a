"""Record of a running generation: one line per finished shard, appended when the file of the shard is in place.

    manifest.partial.jsonl                  of one process that makes the whole folder
    manifest.partial-00040-00080.jsonl      of one of several processes, for units 40 to 79

The first line is a manifest without shards, each further line an entry of `shards`. A line is flushed to the disk
before the next shard is recorded, so the cost per shard does not depend on their number. A line that was truncated by a
kill or a full disk is ignored, and its shard is made again.

Each writer has its own file, so several writers can fill one folder at the same time, also on a shared file system.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from .._internal.files import absolute_path, write_bytes
from ..exceptions import OutputError, ShardError
from .manifest import (
    MANIFEST,
    PARTIAL,
    PARTIALS,
    Manifest,
    ShardEntry,
    parse_entry,
    parse_manifest,
    read_text,
)

T = TypeVar("T")


class Journal:
    """Journal of one writer, with the entries that were finished before; `add` appends new ones.

    Raises `OutputError` if it cannot be written, `FileNotFoundError` if another writer completes the folder and removes
    all journals at the same time.
    """

    def __init__(self, path: Path, settings: Manifest, entries: Iterable[ShardEntry]):
        self.path = path
        lines = [settings.with_shards().document(), *(entry.fields() for entry in entries)]
        write_bytes(path, b"".join(map(_line, lines)), shared=True)
        # Never created here: without its first line it would be invalid.
        self._file = open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags & ~os.O_CREAT))  # noqa: SIM115

    def add(self, entry: ShardEntry) -> None:
        """Append the entry of a written shard. Raises `OutputError` if this fails."""
        line = _line(entry.fields())
        try:
            if self._file.write(line) != len(line):
                raise OSError("no space left for a whole line")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file, which is kept until the folder is complete."""
        self._file.close()


def journal_name(units: range, num_shards: int) -> str:
    """Return the name of the journal for these units."""
    if units == range(num_shards):
        return PARTIAL
    step = f"-{units.step}" if units.step > 1 else ""
    return f"manifest.partial-{units.start:05d}-{units.stop:05d}{step}.jsonl"


def journals(folder: Path) -> list[Path]:
    """Return the journals of all writers."""
    return sorted(folder.glob(PARTIALS))


def read_journal(path: Path) -> tuple[Manifest, list[ShardEntry]]:
    """Return the settings and entries of one writer. Raises `ShardError` if the settings cannot be read."""
    first, *lines = read_text(path).split(b"\n")
    try:
        settings = parse_manifest(first)
    except ShardError as error:
        raise ShardError(f"{path}: {error}; delete this file, and its shards are made again") from error
    entries = []
    for line in lines:
        try:
            entries.append(settings.planned(parse_entry(line)))
        except ShardError:
            continue  # truncated or damaged: this shard is made again
    return settings, entries


def read_journals(folder: Path) -> Iterator[tuple[Manifest, list[ShardEntry]]]:
    """Yield the result of `read_journal` for each journal that still exists."""
    for path in journals(folder):
        if (found := unless_gone(read_journal, path)) is not None:
            yield found


def holds_shards(folder: str | Path) -> bool:
    """Return whether a folder contains shards or a journal."""
    folder = absolute_path(folder)
    return (folder / MANIFEST).is_file() or bool(journals(folder))


def unless_gone(read: Callable[[Path], T], path: Path) -> T | None:
    """Return the content of a file, or None if another writer has removed it or not yet made it."""
    try:
        return read(path)
    except ShardError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_partial(folder: str | Path) -> Manifest | None:
    """Return the entries of all journals of an unfinished folder as one manifest, or None without journals."""
    folder = absolute_path(folder)
    if (folder / MANIFEST).exists():
        return None
    found = [*read_journals(folder)]
    if not found or (folder / MANIFEST).exists():  # written meanwhile
        return None
    return found[0][0].with_shards(*{entry.unit: entry for _, entries in found for entry in entries}.values())


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
