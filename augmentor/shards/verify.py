"""Comparison of a folder and its files with the manifest."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .._internal.files import absolute_path, open_regular
from ..exceptions import ShardError
from .formats import ShardArrays
from .journal import read_partial
from .manifest import MANIFEST, Manifest, ShardEntry, read_manifest
from .rows import BlockCache


def complete_manifest(folder: str | Path) -> Manifest:
    """Return the manifest of a complete folder. Raises `ShardError` for any other."""
    folder = absolute_path(folder)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder / MANIFEST)
        if not manifest.complete:
            raise ShardError(
                f"{folder / MANIFEST} lists {len(manifest.shards)} of {manifest.num_shards} shards; "
                "it is damaged: copy the folder again, or resume it with `augmentor generate --resume`"
            )
        manifest.form.check_declared(manifest)
        return manifest
    if (partial := read_partial(folder)) is not None:
        raise ShardError(
            f"{folder} is not finished: it has {len(partial.shards)} of {partial.num_shards} shards; "
            "wait for its generation, or resume it with `augmentor generate --resume`"
        )
    found = "does not exist" if not folder.exists() else "has no manifest.json" if folder.is_dir() else "is a file"
    raise ShardError(
        f"{folder} {found}; expected a folder made by generate_shards or `augmentor generate` "
        "(if interrupted, resume with `augmentor generate --resume`)"
    )


def check_size(path: Path, entry: ShardEntry) -> None:
    """Raise `ShardError` unless the file exists and has the size of the manifest; does not open the file."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise ShardError(
            f"{path} is missing ({error.strerror}); make it again with `augmentor generate --resume`"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ShardError(
            f"{path} is a {'link' if stat.S_ISLNK(found.st_mode) else 'folder, pipe or device'}; "
            "expected a regular file: copy the folder with its files (as `cp -rL` does)"
        )
    if found.st_size != entry.bytes:
        raise ShardError(
            f"{path} has {found.st_size} bytes, expected {entry.bytes}: it is truncated or another file; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def verify_shard(path: str | Path, entry: ShardEntry) -> None:
    """Raise `ShardError` unless the file has the SHA-256 of the manifest; about 1 GB per second."""
    path = absolute_path(path)
    check_size(path, entry)
    try:
        with open_regular(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ShardError(f"cannot read {path}: {error.strerror}") from error
    if found != entry.sha256:
        raise ShardError(
            f"{path} does not match its checksum: it was damaged or modified; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def open_shard(path: str | Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache | None = None) -> ShardArrays:
    """Open a shard that a manifest lists.

    cache: cache of decompressed chunks. Raises `ShardError` for a file that does not match the manifest. A changed bit
    in the pixels may not be detected; `verify_shard` reads the whole file and detects it.
    """
    path = absolute_path(path)
    check_size(path, entry)
    shard = manifest.form.open(path, entry, manifest, cache or BlockCache())
    _check_labels(path, shard.labels, manifest)
    return shard


def verified(folder: str | Path, manifest: Manifest) -> Iterator[tuple[ShardEntry, ShardError | None]]:
    """Check the bytes of each file of the manifest, and its content if readable; yield its entry and error or None."""
    folder = absolute_path(folder)
    for entry in manifest.shards:
        try:
            verify_shard(folder / entry.file, entry)
            if manifest.form.readable:
                open_shard(folder / entry.file, entry, manifest)
        except ShardError as error:
            yield entry, error
        else:
            yield entry, None


def _check_labels(path: Path, labels: np.ndarray, manifest: Manifest) -> None:
    classes = len(manifest.class_names)
    if manifest.labels == "int64" and labels.max() >= classes:
        raise ShardError(f"{path} has labels up to {labels.max()}; its manifest has {classes} classes")
    if manifest.labels == "soft" and not np.isfinite(labels).all():
        raise ShardError(f"{path} has soft labels that are not finite; expected the probability of each class")
