"""HDF5 shard, version 1: writer and reader.

    images         (n,C,H,W)  uint8
    labels         (n,)       int64, class numbers; or (n,K) float32, soft
    source_index   (n,m)      int64, the real samples it came from; -1 for none
    copy           (n,)       int32, which synthetic version of that sample

All little-endian, hard links in the root group, nothing else beside them. With compression "none" each is contiguous,
so that readers map the images. With "gzip" each is chunked, with gzip and fletcher32: `images` in chunks of about
64 KiB (`chunk_rows`), the others in one chunk. Attributes of the root group repeat the manifest's settings, for
whoever meets a file alone; lists are JSON. A reader goes by the manifest.

A shard is built in memory (`libver="latest"`, no times in it) and written as plain bytes: equal content is equal bytes,
a full disk is noticed when writing, and a killed process leaves no file that opens and is half zeros.

A reader refuses, before it allocates anything, what the format does not have: soft and external links, external
storage, virtual data sets, other types, other filters, sizes that fit neither the manifest nor the file. HDF5 itself
is a large C library; a shard from a stranger is as safe as that library is.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._files import sha256_file
from ..exceptions import InputError, ShapeError, ShardError
from ._manifest import Manifest, ShardEntry

_CHUNK_BYTES = 64 << 10
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_TYPES = {
    "uint8": h5py.h5t.STD_U8LE,
    "int32": h5py.h5t.STD_I32LE,
    "int64": h5py.h5t.STD_I64LE,
    "float32": h5py.h5t.IEEE_F32LE,
}
_GZIP_AT_BEST = 1100  # deflate cannot shrink anything further than 1032 times
_MAX_SOURCES = 64


@dataclass(frozen=True)
class ShardArrays:
    """An open shard. `images[rows]`, with an int64 array of rows 0 to n-1, reads uint8 (len(rows),C,H,W).

    labels: int64 (n,) or float32 (n,K). source_index: int64 (n,m). copy: int32 (n,).
    """

    images: np.ndarray | ChunkedRows
    labels: np.ndarray
    source_index: np.ndarray
    copy: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class ChunkedRows:
    """Rows of a chunked data set; each chunk that is touched is read once."""

    def __init__(self, dataset: h5py.Dataset):
        self._dataset = dataset
        self._file = dataset.file  # h5py closes the data set with its file

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), *self._dataset.shape[1:]), self._dataset.dtype)
        step = self._dataset.chunks[0]
        chunk_of_row = rows // step
        for chunk in np.unique(chunk_of_row):
            wanted = chunk_of_row == chunk
            result[wanted] = self._read(chunk * step, (chunk + 1) * step)[rows[wanted] - chunk * step]
        return result

    def _read(self, start: int, stop: int) -> np.ndarray:
        try:
            return self._dataset[start:stop]
        except OSError as error:
            raise ShardError(
                f"cannot read images {start} to {stop} of {self._file.filename}: {error}; the file is damaged: "
                "copy it again, or make it again with `augmentor generate --resume`"
            ) from error


def encode_shard(
    images: np.ndarray,
    labels: np.ndarray,
    source_index: np.ndarray,
    copy: np.ndarray,
    attributes: dict[str, Any],
    compression: str = "none",
) -> bytes:
    """The bytes of a shard, for `augmentor._files.write_bytes`.

    images: uint8 (n,C,H,W). labels: int64 (n,) or float32 (n,K). source_index: int64 (n,m). copy: int32 (n,).
    attributes: JSON values by name. compression: "none" or "gzip". Raises `ShapeError` or `InputError`.

    >>> n = np.arange(3)
    >>> shard = encode_shard(np.zeros((3, 1, 8, 8), np.uint8), n, n[:, None], n.astype(np.int32), {"seed": 0})
    >>> shard[:4]
    b'\\x89HDF'
    """
    if compression not in ("none", "gzip"):
        raise InputError(f"compression is 'none' or 'gzip', got {compression!r}")
    arrays = {"images": images, "labels": labels, "source_index": source_index, "copy": copy}
    soft = labels.dtype == np.float32
    expected = {
        "images": (4, "uint8"),
        "labels": (2, "float32") if soft else (1, "int64"),
        "source_index": (2, "int64"),
        "copy": (1, "int32"),
    }
    for name, array in arrays.items():
        ndim, dtype = expected[name]
        if array.ndim != ndim or array.dtype != dtype or len(array) != len(images) or array.size == 0:
            raise ShapeError(
                f"{name} of a shard are {dtype} of {ndim} dimensions, as many rows as images and at least one; "
                f"got {array.dtype} {array.shape} for {len(images)} images"
            )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        for name, array in arrays.items():
            options: dict[str, Any] = {}
            if compression == "gzip":
                chunk = (chunk_rows(name, array.shape), *array.shape[1:])
                options = {"chunks": chunk, "compression": "gzip", "fletcher32": True}
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.create_dataset(name, data=little_endian, track_times=False, **options)
        for name, value in attributes.items():
            file.attrs[name] = value if type(value) in (int, str) else json.dumps(value)
    return buffer.getvalue()


def chunk_rows(name: str, shape: tuple[int, ...]) -> int:
    """How many rows a chunk has: about 64 KiB of images, all rows of anything else."""
    if name != "images":
        return shape[0]
    return min(shape[0], max(1, _CHUNK_BYTES // math.prod(shape[1:])))


def open_shard(path: str | Path, entry: ShardEntry, manifest: Manifest) -> ShardArrays:
    """Open a shard that a manifest lists; its images are mapped, or read by chunks if they are compressed.

    Raises `ShardError` for a file that is anything else than what the manifest says. A flipped bit is found by
    `verify_shard`, which reads the whole file.
    """
    path = Path(path)
    check_size(path, entry)
    try:
        file = h5py.File(path, "r", locking=False)
        if sorted(file) != ["copy", "images", "labels", "source_index"]:
            raise ShardError(f"it holds {sorted(file)[:6]}; expected images, labels, source_index and copy only")
        arrays = {name: _checked_dataset(file, name, entry, manifest) for name in file}
        if manifest.compression == "none":
            arrays = {name: _mapped(path, dataset) for name, dataset in arrays.items()}
            file.close()
        images = arrays["images"] if manifest.compression == "none" else ChunkedRows(arrays["images"])
        shard = ShardArrays(images, *(np.array(arrays[name]) for name in ("labels", "source_index", "copy")))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ShardError(
            f"{path} is not the shard that its manifest describes: {error}; "
            "copy it again, or make it again with `augmentor generate --resume`"
        ) from error
    if manifest.labels == "int64" and not 0 <= shard.labels.min() <= shard.labels.max() < len(manifest.class_names):
        raise ShardError(
            f"{path} has labels from {shard.labels.min()} to {shard.labels.max()}; its manifest names "
            f"{len(manifest.class_names)} classes"
        )
    return shard


def check_size(path: Path, entry: ShardEntry) -> None:
    """`ShardError` unless the file is there with the size that the manifest gives; costs one look at the folder."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ShardError(
            f"{path} is missing ({error.strerror}); make it again: `augmentor generate --resume`"
        ) from error
    if size != entry.bytes:
        raise ShardError(
            f"{path} has {size} bytes, its manifest says {entry.bytes}: it is truncated or another file; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def verify_shard(path: str | Path, entry: ShardEntry) -> None:
    """`ShardError` unless every byte of the file is what the manifest's SHA-256 says; about 1 GB a second."""
    check_size(Path(path), entry)
    try:
        found = sha256_file(path)
    except OSError as error:
        raise ShardError(f"cannot read {path}: {error.strerror}") from error
    if found != entry.sha256:
        raise ShardError(
            f"{path} does not fit its checksum: it was damaged or tampered with; "
            "copy it again, or make it again with `augmentor generate --resume`"
        )


def _checked_dataset(file: h5py.File, name: str, entry: ShardEntry, manifest: Manifest) -> h5py.Dataset:
    """A data set that is stored in this file, in the shape, type and layout of the format."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ShardError(f"{name} is a {type(link).__name__}; expected the data itself, a hard link")
    if file.get(name, getclass=True) is not h5py.Dataset:
        raise ShardError(f"{name} is a {file.get(name, getclass=True).__name__}; expected a data set")
    dataset = file[name]
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise ShardError(f"{name} is a virtual data set, stored in other files; expected the data itself")
    if plan.get_external_count():
        raise ShardError(f"{name} is stored outside the file ({plan.get_external(0)[0]!r}); expected the data itself")
    _check_type(dataset, name, manifest)
    _check_shape(dataset, name, entry, manifest)
    _check_storage(dataset, name, plan, entry, manifest)
    return dataset


def _check_type(dataset: h5py.Dataset, name: str, manifest: Manifest) -> None:
    kinds = {"images": "uint8", "labels": "float32" if manifest.labels == "soft" else "int64", "copy": "int32"}
    kind = kinds.get(name, "int64")
    if not dataset.id.get_type().equal(_TYPES[kind]):
        raise ShardError(f"{name} are of type {dataset.dtype}; expected {kind}, little-endian")


def _check_shape(dataset: h5py.Dataset, name: str, entry: ShardEntry, manifest: Manifest) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "images": (entry.count, *manifest.image_shape),
        "labels": (entry.count, len(manifest.class_names)) if manifest.labels == "soft" else (entry.count,),
        "copy": (entry.count,),
    }
    shape = dataset.shape
    if name == "source_index":
        fits = shape is not None and len(shape) == 2 and shape[0] == entry.count and 1 <= shape[1] <= _MAX_SOURCES
        expected = f"({entry.count}, m) with m from 1 to {_MAX_SOURCES}"
    else:
        fits, expected = shape == shapes[name], str(shapes[name])
    if not fits or dataset.maxshape != shape:
        raise ShardError(f"{name} have shape {shape} (at most {dataset.maxshape}); expected {expected}, fixed")


def _check_storage(dataset: h5py.Dataset, name: str, plan: Any, entry: ShardEntry, manifest: Manifest) -> None:
    stored = dataset.id.get_storage_size()
    if manifest.compression == "none":
        offset = dataset.id.get_offset() if plan.get_layout() == h5py.h5d.CONTIGUOUS else None
        if offset is None or stored != dataset.nbytes or offset + stored > entry.bytes:
            raise ShardError(
                f"{name} declare {dataset.nbytes} bytes and store {stored} in a file of {entry.bytes}; "
                "expected them contiguous and inside it"
            )
        return
    chunk = (chunk_rows(name, dataset.shape), *dataset.shape[1:])
    if dataset.chunks != chunk:
        raise ShardError(f"{name} have chunks {dataset.chunks}; expected {chunk}")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if any(number not in _FILTERS for number in filters):
        raise ShardError(f"{name} use HDF5 filters {filters}; expected only gzip, shuffle and fletcher32")
    missing = dataset.id.get_num_chunks() != -(-dataset.shape[0] // chunk[0])
    if missing or stored > entry.bytes or dataset.nbytes > _GZIP_AT_BEST * stored:
        raise ShardError(
            f"{name} declare {dataset.nbytes} bytes and store {stored} in a file of {entry.bytes}; "
            "expected every chunk stored inside it"
        )


def _mapped(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
