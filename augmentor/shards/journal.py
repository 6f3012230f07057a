"""The record of a generation under way: what is finished, one line a shard, appended when the shard is in place.

    manifest.partial.jsonl                  of the one process that makes the whole folder
    manifest.partial-00040-00080.jsonl      of one of several, which makes units 40 to 79

The first line is a manifest without shards, each further line an entry of `shards`. A line is flushed to the disk
before the next shard is recorded, so a shard costs one line however many there are. A line that a kill or a full disk
cut short is no entry: its shard is made again.

Each writer has a file of its own, so that many may fill one folder at once, on a shared file system as well.
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
    """The file of one writer: what was finished before, and `add` for what comes.

    Raises `OutputError` where it cannot be written, `FileNotFoundError` where another writer completes the folder, and
    removes all records, at this moment.
    """

    def __init__(self, path: Path, settings: Manifest, entries: Iterable[ShardEntry]):
        self.path = path
        lines = [settings.with_shards().document(), *(entry.fields() for entry in entries)]
        write_bytes(path, b"".join(map(_line, lines)), shared=True)
        # Never made anew: without its first line it would be no record.
        self._file = open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags & ~os.O_CREAT))  # noqa: SIM115

    def add(self, entry: ShardEntry) -> None:
        """Append a shard that is in place; `OutputError` where that cannot be done."""
        line = _line(entry.fields())
        try:
            if self._file.write(line) != len(line):
                raise OSError("no space left for a whole line")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file; it stays until the folder is complete."""
        self._file.close()


def journal_name(units: range, num_shards: int) -> str:
    """The file of the writer of these units."""
    if units == range(num_shards):
        return PARTIAL
    step = f"-{units.step}" if units.step > 1 else ""
    return f"manifest.partial-{units.start:05d}-{units.stop:05d}{step}.jsonl"


def journals(folder: Path) -> list[Path]:
    """The files of all writers."""
    return sorted(folder.glob(PARTIALS))


def read_journal(path: Path) -> tuple[Manifest, list[ShardEntry]]:
    """The settings and the entries of one writer; `ShardError` where the settings cannot be read."""
    first, *lines = read_text(path).split(b"\n")
    try:
        settings = parse_manifest(first)
    except ShardError as error:
        raise ShardError(f"{path}: {error}; delete it, and its shards are made again") from error
    entries = []
    for line in lines:
        try:
            entries.append(settings.planned(parse_entry(line)))
        except ShardError:
            continue  # cut short or damaged: that shard is made again
    return settings, entries


def read_journals(folder: Path) -> Iterator[tuple[Manifest, list[ShardEntry]]]:
    """What `read_journal` gives of each writer's file that is still there when it is opened."""
    for path in journals(folder):
        if (found := unless_gone(read_journal, path)) is not None:
            yield found


def holds_shards(folder: str | Path) -> bool:
    """Whether a folder has shards, or is being filled with them."""
    folder = absolute_path(folder)
    return (folder / MANIFEST).is_file() or bool(journals(folder))


def unless_gone(read: Callable[[Path], T], path: Path) -> T | None:
    """What is in a file; None if there was none when it was opened. Other writers make and remove files meanwhile."""
    try:
        return read(path)
    except ShardError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_partial(folder: str | Path) -> Manifest | None:
    """What all writers of an unfinished folder have recorded so far, as one manifest; None where there are none."""
    folder = absolute_path(folder)
    if (folder / MANIFEST).exists():
        return None
    found = [*read_journals(folder)]
    if not found or (folder / MANIFEST).exists():  # since this moment
        return None
    return found[0][0].with_shards(*{entry.unit: entry for _, entries in found for entry in entries}.values())


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
