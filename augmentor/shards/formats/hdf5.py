"""HDF5 shard format, version 1: writer and reader.

    images         (n,C,H,W)  uint8
    latents        (n,*L)     float32, raw latents; in a shard of latents, instead of images
    labels         (n,)       int64, class numbers; or (n,K) float32, soft labels
    source_index   (n,m)      int64, indices of the real samples; -1 for none
    copy           (n,)       int32, draw index; -1 if the original image was kept

All are little-endian and hard links in the root group, which contains nothing else. With compression "none" each is
contiguous, so that readers can map the images. With "gzip" each is chunked, with gzip and fletcher32: images or latents
in chunks of about 64 KiB (`chunk_rows`), the others in one chunk. Attributes of the root group repeat the settings of
the manifest for users of a single file; lists are JSON. A reader uses the manifest.

A shard is built in memory (`libver="latest"`, without times) and written as plain bytes: equal content gives equal
bytes, a full disk raises an error, and a killed process leaves no incomplete file that can be opened.

Before it allocates memory, a reader rejects everything outside the format: other superblocks, soft and external links,
external storage, virtual data sets, other types and filters, and sizes that do not match the manifest and the file.
The HDF5 library, a large C library, only returns the location of the arrays (`storage.py`). A reader does not protect
this part of the library against malicious files.
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
    """HDF5 shard format, which `ShardDataset` reads."""

    suffix = ".h5"
    compressions = ("none", "gzip")
    readable = True

    def encode(self, arrays: dict[str, np.ndarray], settings: Manifest, unit: int) -> bytes:
        """Return the bytes of an HDF5 file with the settings as attributes."""
        attributes = {**settings.settings(), "count": len(arrays["labels"]), "shard": unit}
        return encode_shard(arrays, attributes, settings.compression)

    def open(self, path: Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache) -> ShardArrays:
        """Map the content, or read it by chunks if compressed; damage in a chunk is detected when it is read."""
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
                f"{path} does not match its manifest: {error}; "
                "close it if it is open in h5py, copy it again, or make it again with `augmentor generate --resume`"
            ) from error

    def check_declared(self, manifest: Manifest) -> None:
        """Raise `ShardError` if a file is too short for its images or latents at the largest gzip ratio."""
        shape, itemsize = _row(manifest)
        best = 1 if manifest.compression == "none" else DEFLATE_AT_BEST
        for entry in manifest.shards:
            declared = entry.count * math.prod(shape) * itemsize
            if declared > best * entry.bytes:
                raise ShardError(
                    f"{entry.file} has {declared} bytes of {manifest.store} in {entry.bytes} according to its "
                    "manifest, which is damaged or modified: copy the folder again"
                )

    def rows_at_once(self, manifest: Manifest, count: int) -> int:
        """Return the rows of a chunk, and the same number for a mapped file."""
        shape, itemsize = _row(manifest)
        return chunk_rows(manifest.store, (count, *shape), itemsize)


def _row(manifest: Manifest) -> tuple[tuple[int, ...], int]:
    """Return the shape of one sample, and the bytes per element."""
    return (manifest.image_shape, 1) if manifest.latent_shape is None else (manifest.latent_shape, 4)


def encode_shard(arrays: dict[str, np.ndarray], attributes: dict[str, Any], compression: str = "none") -> bytes:
    """Return the bytes of a shard, for `augmentor._internal.files.write_bytes`.

    arrays: `images` uint8 (n,C,H,W), or `latents` float32 (n,*L); `labels` int64 (n,) or float32 (n,K); `source_index`
    int64 (n,m); `copy` int32 (n,). attributes: JSON values by name. compression: "none" or "gzip". Raises `ShapeError`
    or `InputError`.

    >>> n = np.arange(3)
    >>> arrays = {"labels": n, "source_index": n[:, None], "copy": n.astype(np.int32)}
    >>> encode_shard({"images": np.zeros((3, 1, 8, 8), np.uint8), **arrays}, {"seed": 0})[:4]
    b'\\x89HDF'
    """
    if compression not in ("none", "gzip"):
        raise InputError(f"compression must be 'none' or 'gzip', got {compression!r}")
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
                f"{name} of a shard must be {dtype} with {ndim} dimensions, one row per row of {store} and at least "
                f"one; got {array.dtype} {array.shape} for {rows} {store}"
            )


def chunk_rows(name: str, shape: tuple[int, ...], itemsize: int = 1) -> int:
    """Return the rows per chunk: about 64 KiB of images or latents, the maximum that a reader accepts of others."""
    most = _CHUNK_BYTES if name in ("images", "latents") else MOST_OF_A_CHUNK
    return min(shape[0], max(1, most // (itemsize * math.prod(shape[1:]))))


def _check_superblock(path: Path, entry: ShardEntry) -> None:
    """Check, before the HDF5 library reads the file, that its first bytes are those of the writer.

    They are version 3, addresses of 8 bytes, closed, no user block, no extension (which could contain other drivers and
    cached metadata), and the length of the file.
    """
    with open_regular(path) as file:
        head = file.read(36)
    expected = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00" + struct.pack("<qqQ", 0, -1, entry.bytes)
    if head != expected:
        raise ShardError("its first bytes are not those of a shard")


def _stored_in(file: h5py.File, entry: ShardEntry, manifest: Manifest) -> dict[str, Stored]:
    """Return the locations of the four data sets. Raises `ShardError` if there is anything else."""
    expected = {manifest.store, "labels", "source_index", "copy"}
    if len(file) != len(expected) or set(file) != expected:
        raise ShardError(f"it holds {names_in(file)}; expected {manifest.store}, labels, source_index and copy only")
    return {name: stored_in(file, name, entry.bytes) for name in sorted(expected)}


def _check_fits(name: str, stored: Stored, entry: ShardEntry, manifest: Manifest) -> None:
    """Check that type, shape and layout match the format."""
    labels = "<f4" if manifest.labels == "soft" else "<i8"
    dtype = np.dtype({"images": "u1", "latents": "<f4", "labels": labels, "copy": "<i4"}.get(name, "<i8"))
    if stored.dtype != dtype:
        raise ShardError(f"{name} is of type {stored.dtype.str}; expected {dtype.name}, little-endian")
    rest: dict[str, tuple[int, ...]] = {
        "images": manifest.image_shape,
        "latents": manifest.latent_shape or (),
        "labels": (len(manifest.class_names),) if manifest.labels == "soft" else (),
        "copy": (),
        "source_index": (min(max(1, stored.shape[-1]), _MAX_SOURCES),) if stored.shape else (1,),
    }
    shape = (entry.count, *rest[name])
    if stored.shape != shape:
        raise ShardError(f"{name} has shape {stored.shape}; expected {shape}")
    if manifest.compression == "none" and stored.chunks is not None:
        raise ShardError(f"{name} is chunked; expected contiguous bytes")
    chunks = (chunk_rows(name, shape, dtype.itemsize), *shape[1:])
    if manifest.compression != "none" and stored.chunks != chunks:
        raise ShardError(f"{name} has chunks {stored.chunks}; expected {chunks}")
