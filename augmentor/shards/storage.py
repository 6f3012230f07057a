"""Location of the bytes of a data set in an HDF5 file.

The HDF5 library returns the location, which is checked against the size of the file. It does not read the data: `rows`
does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..exceptions import ShardError

DEFLATE, SHUFFLE, FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32

DEFLATE_AT_BEST = 1100  # the largest ratio of deflate is 1032

MOST_OF_A_CHUNK = 256 << 20
_BYTES_A_CHUNK = 64  # minimum; a list of smaller ones would be larger than their data


@dataclass(frozen=True)
class Stored:
    """Location of a data set with all bytes in its file.

    offset: of a contiguous data set, else None. chunks: shape of a chunk, or None. places: int64 (chunks, 3), offset,
    length and skipped filters of each chunk, in the order of the grid. filters: in the order of their application.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None = None
    chunks: tuple[int, ...] | None = None
    places: np.ndarray | None = None
    filters: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Number of bytes of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize


def stored_in(file: h5py.File, name: str, size: int) -> Stored:
    """Return the location of a data set in an open file of `size` bytes, without allocating memory for the array.

    Raises `ShardError` for soft and external links, groups, external storage, virtual data sets, types other than
    integers and floats, compact storage, filters other than gzip, shuffle and fletcher32, and for data that are not
    completely in the file.
    """
    dataset = _linked(file, name)
    kind = dataset.id.get_type()
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or not kind.equal(h5py.h5t.py_create(kind.dtype)):
        raise ShardError(f"{name} is of type {_type_name(dataset)}; expected standard integers or floats")
    if dataset.shape is None or math.prod(dataset.shape) >= 2**63 // kind.get_size():
        raise ShardError(f"{name} has shape {dataset.shape}; expected an array")
    plan = dataset.id.get_create_plist()
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise ShardError(f"{name} is a virtual data set, stored in other files; expected the data itself")
    if plan.get_external_count():
        raise ShardError(f"{name} is stored outside the file ({plan.get_external(0)[0]!r}); expected the data itself")
    if layout == h5py.h5d.CHUNKED:
        return _chunked(dataset, name, plan, kind.dtype, size)
    offset = dataset.id.get_offset() if layout == h5py.h5d.CONTIGUOUS else None
    stored = dataset.id.get_storage_size()
    if offset is None or stored != dataset.nbytes or offset + stored > size:
        raise ShardError(
            f"{name} declares {dataset.nbytes} bytes and stores {stored} in a file of {size}; "
            "expected contiguous bytes inside the file"
        )
    return Stored(dataset.shape, kind.dtype, offset)


def _linked(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set that is reached by hard links only."""
    place: Any = file
    for part in name.strip("/").split("/"):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            raise ShardError(f"there is no {name!r}; it holds {names_in(file)}")
        if not isinstance(link, h5py.HardLink):
            raise ShardError(f"{name} is a {type(link).__name__}; expected the data itself, a hard link")
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        raise ShardError(f"{name} is a {type(place).__name__}; expected a data set")
    return place


def names_in(group: h5py.Group) -> str:
    """Return the first names in a group, for messages."""
    return ", ".join(repr(name)[:40] for name, _ in zip(group, range(6), strict=False)) or "nothing"


def _type_name(dataset: h5py.Dataset) -> str:
    try:
        return str(dataset.dtype)[:80]
    except (TypeError, ValueError):
        return "unknown"


def _chunked(dataset: h5py.Dataset, name: str, plan: Any, dtype: np.dtype, size: int) -> Stored:
    shape, chunks = dataset.shape, plan.get_chunk()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    numbers = tuple(number for number, *_ in filters)
    known: dict[int, Any] = {DEFLATE: {(level,) for level in range(10)}, SHUFFLE: {(dtype.itemsize,)}, FLETCHER32: {()}}
    if not set(numbers) <= set(known) or len(set(numbers)) < len(numbers):
        raise ShardError(f"{name} uses HDF5 filters {list(numbers)[:8]}; expected only gzip, shuffle and fletcher32")
    if odd := [(number, values) for number, _, values, _ in filters if values not in known[number]]:
        raise ShardError(f"{name} uses HDF5 filter {odd[0][0]} with invalid settings {odd[0][1]}")
    bytes_each = math.prod(chunks) * dtype.itemsize
    if bytes_each > MOST_OF_A_CHUNK:
        raise ShardError(f"{name} has chunks {chunks} of {bytes_each} bytes; expected at most {MOST_OF_A_CHUNK}")
    grid = [-(-length // step) for length, step in zip(shape, chunks, strict=True)]
    places = _places(dataset, chunks, grid, size)
    stored = 0 if places is None else int(places[:, 1].sum())
    best = DEFLATE_AT_BEST if DEFLATE in numbers else 1
    if places is None or stored > size or dataset.nbytes > best * stored:
        raise ShardError(
            f"{name} declares {dataset.nbytes} bytes and stores {stored} in a file of {size}; "
            "expected every chunk inside the file"
        )
    if places[:, 1].max() > bytes_each + (bytes_each >> 6) + 64:  # more than any supported filter adds to a chunk
        raise ShardError(f"{name} stores {places[:, 1].max()} bytes for a chunk of {bytes_each}")
    return Stored(shape, dtype, chunks=chunks, places=places, filters=numbers)


def _places(dataset: h5py.Dataset, chunks: tuple[int, ...], grid: list[int], size: int) -> np.ndarray | None:
    """Return offset, length and skipped filters of every chunk, in grid order; None unless all are in the file."""
    count, dims = math.prod(grid), len(grid)
    if not 0 < count <= max(1, size // _BYTES_A_CHUNK) or dataset.id.get_num_chunks() != count:
        return None
    table = np.empty((count, dims + 3), np.uint64)
    rows = iter(table)

    def note(chunk: Any) -> bool | None:
        row = next(rows, None)
        if row is None:
            return True  # more chunks than the index declares
        row[:] = (*chunk.chunk_offset, chunk.byte_offset, chunk.size, chunk.filter_mask)
        return None

    if dataset.id.chunk_iter(note) or next(rows, None) is not None:
        return None
    where, places = table[:, :dims], table[:, dims:]
    offset, length = places[:, 0], places[:, 1]
    inside = (offset <= size) & (length <= size) & (offset + length <= size) & (length > 0)
    if not inside.all() or (where % np.array(chunks, np.uint64)).any():
        return None
    where //= np.array(chunks, np.uint64)
    if (where >= np.array(grid, np.uint64)).any():
        return None
    number = np.ravel_multi_index(tuple(where.T.astype(np.int64)), tuple(grid))
    order = np.argsort(number, kind="stable")
    if (number[order] != np.arange(count)).any():
        return None
    return places[order].astype(np.int64)
