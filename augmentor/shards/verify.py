"""Whether a folder, and each file in it, is what the manifest says."""

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
    """The manifest of a folder that is ready to be read; `ShardError` for any other."""
    folder = absolute_path(folder)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder / MANIFEST)
        if not manifest.complete:
            raise ShardError(
                f"{folder / MANIFEST} lists {len(manifest.shards)} of {manifest.num_shards} shards; "
                "it is damaged: copy the folder again, or finish it with `augmentor generate --resume`"
            )
        manifest.form.check_declared(manifest)
        return manifest
    if (partial := read_partial(folder)) is not None:
        raise ShardError(
            f"{folder} is not finished: it has {len(partial.shards)} of {partial.num_shards} shards; "
            "wait for its generation, or finish it with `augmentor generate --resume`"
        )
    found = "does not exist" if not folder.exists() else "has no manifest.json" if folder.is_dir() else "is a file"
    raise ShardError(
        f"{folder} {found}; expected a folder that generate_shards or `augmentor generate` made "
        "(one that was cut short is finished with `augmentor generate --resume`)"
    )


def check_size(path: Path, entry: ShardEntry) -> None:
    """`ShardError` unless the file is there with the size that the manifest gives; costs one look at the folder."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise ShardError(
            f"{path} is missing ({error.strerror}); make it again: `augmentor generate --resume`"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ShardError(
            f"{path} is a {'link' if stat.S_ISLNK(found.st_mode) else 'folder, pipe or device'}; "
            "expected the file itself: copy the folder with its files (as `cp -rL` does)"
        )
    if found.st_size != entry.bytes:
        raise ShardError(
            f"{path} has {found.st_size} bytes, its manifest says {entry.bytes}: it is truncated or another file; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def verify_shard(path: str | Path, entry: ShardEntry) -> None:
    """`ShardError` unless every byte of the file is what the manifest's SHA-256 says; about 1 GB a second."""
    path = absolute_path(path)
    check_size(path, entry)
    try:
        with open_regular(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ShardError(f"cannot read {path}: {error.strerror}") from error
    if found != entry.sha256:
        raise ShardError(
            f"{path} does not fit its checksum: it was damaged or tampered with; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def open_shard(path: str | Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache | None = None) -> ShardArrays:
    """Open a shard that a manifest lists.

    cache: keeps unpacked chunks. Raises `ShardError` for a file that is anything else than what the manifest says. A
    flipped bit in the pixels may go unseen: `verify_shard` reads the whole file and finds it.
    """
    path = absolute_path(path)
    check_size(path, entry)
    shard = manifest.form.open(path, entry, manifest, cache or BlockCache())
    _check_labels(path, shard.labels, manifest)
    return shard


def verified(folder: str | Path, manifest: Manifest) -> Iterator[tuple[ShardEntry, ShardError | None]]:
    """Each file of the manifest, and what is wrong with it: every byte is looked at, and what it holds if it opens."""
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
        raise ShardError(f"{path} has labels up to {labels.max()}; its manifest names {classes} classes")
    if manifest.labels == "soft" and not np.isfinite(labels).all():
        raise ShardError(f"{path} has soft labels that are not finite; expected the share of each class")
