"""HDF5 shard, version 1: writer and reader.

    images         (n,C,H,W)  uint8; in a shard of latents instead of them
    latents        (n,*L)     float32, raw latents
    labels         (n,)       int64, class numbers; or (n,K) float32, soft
    source_index   (n,m)      int64, the real samples it came from; -1 for none
    copy           (n,)       int32, the draw index: which synthetic version of that sample; -1 for the real one itself

All little-endian, hard links in the root group, nothing else beside them. With compression "none" each is contiguous,
so that readers map the images. With "gzip" each is chunked, with gzip and fletcher32: images or latents in chunks of
about 64 KiB (`chunk_rows`), the others in one chunk. Attributes of the root group repeat the manifest's settings, for
whoever meets a file alone; lists are JSON. A reader goes by the manifest.

A shard is built in memory (`libver="latest"`, no times in it) and written as plain bytes: equal content is equal bytes,
a full disk is noticed when writing, and a killed process leaves no file that opens and is half zeros.

A reader refuses, before it allocates anything, what the format does not have: other superblocks, soft and external
links, external storage, virtual data sets, other types, other filters, sizes that fit neither the manifest nor the
file. HDF5 itself, a large C library, is asked only where the arrays lie (`storage.py`); against a file made to attack
that part of it, a reader is as safe as the library is.
"""

from __future__ import annotations

import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..._internal.files import open_regular
from ...exceptions import InputError, ShapeError, ShardError
from ..manifest import Manifest, ShardEntry
from ..rows import BlockCache, rows_of
from ..storage import DEFLATE_AT_BEST, MOST_OF_A_CHUNK, Stored, names_in, stored_in
from ._base import ShardArrays, ShardFormat, register_format

_CHUNK_BYTES = 64 << 10
_MAX_SOURCES = 64


@register_format("hdf5")
class HDF5(ShardFormat):
    """The format of `ShardDataset`."""

    suffix = ".h5"
    compressions = ("none", "gzip")
    readable = True

    def encode(self, arrays: dict[str, np.ndarray], settings: Manifest, unit: int) -> bytes:
        """HDF5 whose attributes repeat the settings."""
        attributes = {**settings.settings(), "count": len(arrays["labels"]), "shard": unit}
        return encode_shard(arrays, attributes, settings.compression)

    def open(self, path: Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache) -> ShardArrays:
        """What it holds is mapped, or read by chunks if it is compressed: a damaged chunk is found when it is read."""
        try:
            _check_superblock(path, entry)
            with h5py.File(path, "r", locking=False) as file:
                stored = _stored_in(file, entry, manifest)
            for name, place in stored.items():
                _check_fits(name, place, entry, manifest)
            rows = np.arange(entry.count)
            rest = [rows_of(path, stored[name], BlockCache())[rows] for name in ("labels", "source_index", "copy")]
            return ShardArrays(rows_of(path, stored[manifest.store], cache), *rest)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ShardError(
                f"{path} is not the shard that its manifest describes: {error}; "
                "close it where h5py has it open, or copy it again, or make it again with `augmentor generate --resume`"
            ) from error

    def check_declared(self, manifest: Manifest) -> None:
        """Every file is long enough for its images or latents, packed as well as gzip can."""
        shape, itemsize = _row(manifest)
        best = 1 if manifest.compression == "none" else DEFLATE_AT_BEST
        for entry in manifest.shards:
            declared = entry.count * math.prod(shape) * itemsize
            if declared > best * entry.bytes:
                raise ShardError(
                    f"{entry.file} is said to hold {declared} bytes of {manifest.store} in {entry.bytes}; "
                    "its manifest is damaged or tampered with: copy the folder again"
                )

    def rows_at_once(self, manifest: Manifest, count: int) -> int:
        """A chunk; as many rows of a mapped file."""
        shape, itemsize = _row(manifest)
        return chunk_rows(manifest.store, (count, *shape), itemsize)


def _row(manifest: Manifest) -> tuple[tuple[int, ...], int]:
    """Shape of one sample, and the bytes of a number in it."""
    return (manifest.image_shape, 1) if manifest.latent_shape is None else (manifest.latent_shape, 4)


def encode_shard(arrays: dict[str, np.ndarray], attributes: dict[str, Any], compression: str = "none") -> bytes:
    """The bytes of a shard, for `augmentor._internal.files.write_bytes`.

    arrays: `images` uint8 (n,C,H,W), or `latents` float32 (n,*L); `labels` int64 (n,) or float32 (n,K); `source_index`
    int64 (n,m); `copy` int32 (n,). attributes: JSON values by name. compression: "none" or "gzip". Raises `ShapeError`
    or `InputError`.

    >>> n = np.arange(3)
    >>> arrays = {"labels": n, "source_index": n[:, None], "copy": n.astype(np.int32)}
    >>> encode_shard({"images": np.zeros((3, 1, 8, 8), np.uint8), **arrays}, {"seed": 0})[:4]
    b'\\x89HDF'
    """
    if compression not in ("none", "gzip"):
        raise InputError(f"compression is 'none' or 'gzip', got {compression!r}")
    store = "latents" if "latents" in arrays else "images"
    _check_arrays(arrays, store)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        for name in (store, "labels", "source_index", "copy"):
            array = arrays[name]
            options: dict[str, Any] = {}
            if compression == "gzip":
                chunk = (chunk_rows(name, array.shape, array.itemsize), *array.shape[1:])
                options = {"chunks": chunk, "compression": "gzip", "fletcher32": True}
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.create_dataset(name, data=little_endian, track_times=False, **options)
        for name, value in attributes.items():
            file.attrs[name] = value if type(value) in (int, str) else json.dumps(value)
    return buffer.getvalue()


def _check_arrays(arrays: dict[str, np.ndarray], store: str) -> None:
    rows = len(arrays[store])
    expected = {
        "images": (4, "uint8"),
        "latents": (max(2, arrays[store].ndim), "float32"),
        "labels": (2, "float32") if arrays["labels"].dtype == np.float32 else (1, "int64"),
        "source_index": (2, "int64"),
        "copy": (1, "int32"),
    }
    for name in (store, "labels", "source_index", "copy"):
        array, (ndim, dtype) = arrays[name], expected[name]
        if array.ndim != ndim or array.dtype != dtype or len(array) != rows or array.size == 0:
            raise ShapeError(
                f"{name} of a shard are {dtype} of {ndim} dimensions, as many rows as {store} and at least one; "
                f"got {array.dtype} {array.shape} for {rows} {store}"
            )


def chunk_rows(name: str, shape: tuple[int, ...], itemsize: int = 1) -> int:
    """How many rows a chunk has: about 64 KiB of images or latents, of anything else as many as a reader takes."""
    most = _CHUNK_BYTES if name in ("images", "latents") else MOST_OF_A_CHUNK
    return min(shape[0], max(1, most // (itemsize * math.prod(shape[1:]))))


def _check_superblock(path: Path, entry: ShardEntry) -> None:
    """The first bytes are those of the writer's files, before the HDF5 library looks at any others.

    Version 3, addresses of 8 bytes, closed, no user block, no extension (where other drivers and cached metadata
    stand), and as long as the file is.
    """
    with open_regular(path) as file:
        head = file.read(36)
    expected = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00" + struct.pack("<qqQ", 0, -1, entry.bytes)
    if head != expected:
        raise ShardError("its first bytes are not those of a shard")


def _stored_in(file: h5py.File, entry: ShardEntry, manifest: Manifest) -> dict[str, Stored]:
    """Where the four data sets are; nothing else is in the file."""
    expected = {manifest.store, "labels", "source_index", "copy"}
    if len(file) != len(expected) or set(file) != expected:
        raise ShardError(f"it holds {names_in(file)}; expected {manifest.store}, labels, source_index and copy only")
    return {name: stored_in(file, name, entry.bytes) for name in sorted(expected)}


def _check_fits(name: str, stored: Stored, entry: ShardEntry, manifest: Manifest) -> None:
    """Type, shape and layout are those of the format."""
    labels = "<f4" if manifest.labels == "soft" else "<i8"
    dtype = np.dtype({"images": "u1", "latents": "<f4", "labels": labels, "copy": "<i4"}.get(name, "<i8"))
    if stored.dtype != dtype:
        raise ShardError(f"{name} are of type {stored.dtype.str}; expected {dtype.name}, little-endian")
    rest: dict[str, tuple[int, ...]] = {
        "images": manifest.image_shape,
        "latents": manifest.latent_shape or (),
        "labels": (len(manifest.class_names),) if manifest.labels == "soft" else (),
        "copy": (),
        "source_index": (min(max(1, stored.shape[-1]), _MAX_SOURCES),) if stored.shape else (1,),
    }
    shape = (entry.count, *rest[name])
    if stored.shape != shape:
        raise ShardError(f"{name} have shape {stored.shape}; expected {shape}")
    if manifest.compression == "none" and stored.chunks is not None:
        raise ShardError(f"{name} are chunked; expected them contiguous")
    chunks = (chunk_rows(name, shape, dtype.itemsize), *shape[1:])
    if manifest.compression != "none" and stored.chunks != chunks:
        raise ShardError(f"{name} have chunks {stored.chunks}; expected {chunks}")
