"""Where the bytes of a data set lie in an HDF5 file, and reading them there.

The HDF5 library is asked where things are, and what it answers is checked against the size of the file; no data go
through it. A contiguous data set is memory-mapped. A chunked one is read chunk by chunk and unpacked here, with zlib
told how long the result may be: HDF5 itself unpacks a chunk as far as it goes, so that a few kilobytes could fill the
memory. No lock of the library is held while reading, and no plug-in is ever loaded.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._internal.files import open_regular
from ..exceptions import ShardError

DEFLATE, SHUFFLE, FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32

DEFLATE_AT_BEST = 1100  # deflate cannot shrink anything further than 1032 times

MOST_OF_A_CHUNK = 256 << 20
_WORDS_AT_ONCE = 1 << 16
_BYTES_A_CHUNK = 64  # of the file, at least; smaller ones would cost more to list than they hold


@dataclass(frozen=True)
class Stored:
    """A data set whose bytes all lie in its file.

    offset: of a contiguous data set, else None. chunks: the shape of a chunk, else None. places: int64 (chunks, 3),
    offset, length and skipped filters of each, in the order of the grid. filters: in the order they were applied.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None = None
    chunks: tuple[int, ...] | None = None
    places: np.ndarray | None = None
    filters: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def rows_together(self) -> int:
        """How many rows one read unpacks; 1 where they are mapped."""
        return 1 if self.chunks is None else self.chunks[0]


def stored_in(file: h5py.File, name: str, size: int) -> Stored:
    """Find a data set in an open file of `size` bytes. Nothing of the array's own size is allocated.

    Raises `ShardError` for soft and external links, groups, external storage, virtual data sets, types other than
    integers and floats, compact storage, filters other than gzip, shuffle and fletcher32, and for data that do not
    lie in the file as a whole.
    """
    dataset = _linked(file, name)
    kind = dataset.id.get_type()
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or not kind.equal(h5py.h5t.py_create(kind.dtype)):
        raise ShardError(f"{name} are of type {_type_name(dataset)}; expected integers or floats of a usual type")
    if dataset.shape is None or math.prod(dataset.shape) >= 2**63 // kind.get_size():
        raise ShardError(f"{name} have shape {dataset.shape}; expected an array")
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
            f"{name} declare {dataset.nbytes} bytes and store {stored} in a file of {size}; "
            "expected them contiguous and inside it"
        )
    return Stored(dataset.shape, kind.dtype, offset)


def rows_of(path: Path, stored: Stored, cache: BlockCache) -> np.ndarray | ChunkedRows:
    """The array, for reading: `rows_of(...)[rows]` with a slice or an int64 array of row numbers.

    Slices of a mapped array are views of the file, and read-only.
    """
    if stored.offset is None:
        return ChunkedRows(path, stored, cache)
    with open_regular(path) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(stored.shape, stored.dtype, mapped, stored.offset)  # every step costs less than np.memmap's


class BlockCache:
    """The blocks unpacked last, up to a number of bytes; for one process."""

    def __init__(self, max_bytes: int = 64 << 20):
        self._max_bytes, self._bytes = max_bytes, 0
        self._blocks: OrderedDict[Any, np.ndarray] = OrderedDict()

    def get(self, key: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The block of this key, made if it is not there."""
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = make()
            self._bytes += block.nbytes
            while self._bytes > self._max_bytes and len(self._blocks) > 1:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        else:
            self._blocks.move_to_end(key)
        return block


class ChunkedRows:
    """Rows of a chunked data set; each chunk that is touched is read once, and kept in the cache for a while."""

    def __init__(self, path: Path, stored: Stored, cache: BlockCache):
        self.shape, self.dtype = stored.shape, stored.dtype
        self._path, self._stored, self._cache = path, stored, cache
        self._file = open_regular(path)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        band_of_row, row_of_band = np.divmod(rows, self._stored.rows_together)
        for band in np.unique(band_of_row).tolist():
            wanted = band_of_row == band
            block = self._cache.get((self._path, band), functools.partial(self._band, band))
            result[wanted] = block[row_of_band[wanted]]
        return result

    def _band(self, band: int) -> np.ndarray:
        """All chunks that hold the rows from ``band * chunks[0]`` on."""
        shape, chunks = self.shape, self._stored.chunks or self.shape
        count = min(chunks[0], shape[0] - band * chunks[0])
        if chunks[1:] == shape[1:]:
            return self._chunk(band)[:count]
        result = np.empty((count, *shape[1:]), self.dtype)
        across = [range(-(-size // step)) for size, step in zip(shape[1:], chunks[1:], strict=True)]
        number = band * math.prod(map(len, across))
        for place in np.ndindex(*map(len, across)):
            chunk = self._chunk(number)
            here = (slice(0, len(result)), *(slice(p * c, (p + 1) * c) for p, c in zip(place, chunks[1:], strict=True)))
            there = result[here]
            there[...] = chunk[tuple(slice(0, n) for n in there.shape)]
            number += 1
        return result

    def _chunk(self, number: int) -> np.ndarray:
        stored = self._stored
        assert stored.places is not None
        assert stored.chunks is not None
        offset, length, skipped = stored.places[number].tolist()
        size = math.prod(stored.chunks) * self.dtype.itemsize
        try:
            data = os.pread(self._file.fileno(), length, offset)
            for i in reversed(range(len(stored.filters))):
                if not skipped >> i & 1:
                    data = _UNDO[stored.filters[i]](data, size, self.dtype.itemsize)
            if len(data) != size:
                raise ValueError(f"it has {len(data)} bytes, expected {size}")
        except (OSError, ValueError, zlib.error) as error:
            raise ShardError(
                f"cannot read chunk {number} of {self._path}: {error}; the file is damaged: "
                "copy it again, or make it again with `augmentor generate --resume`"
            ) from error
        return np.frombuffer(data, self.dtype).reshape(stored.chunks)


def _linked(file: h5py.File, name: str) -> h5py.Dataset:
    """A data set reached by hard links only."""
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
    """The first names in a group, for an error."""
    return ", ".join(repr(name)[:40] for name, _ in zip(group, range(6), strict=False)) or "nothing"


def _type_name(dataset: h5py.Dataset) -> str:
    try:
        return str(dataset.dtype)[:80]
    except (TypeError, ValueError):
        return "no known"


def _chunked(dataset: h5py.Dataset, name: str, plan: Any, dtype: np.dtype, size: int) -> Stored:
    shape, chunks = dataset.shape, plan.get_chunk()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    numbers = tuple(number for number, *_ in filters)
    if not set(numbers) <= set(_UNDO) or len(set(numbers)) < len(numbers):
        raise ShardError(f"{name} use HDF5 filters {list(numbers)[:8]}; expected only gzip, shuffle and fletcher32")
    known: dict[int, Any] = {DEFLATE: {(level,) for level in range(10)}, SHUFFLE: {(dtype.itemsize,)}, FLETCHER32: {()}}
    if odd := [(number, values) for number, _, values, _ in filters if values not in known[number]]:
        raise ShardError(f"{name} use HDF5 filter {odd[0][0]} with settings {odd[0][1]}, which it does not have")
    bytes_each = math.prod(chunks) * dtype.itemsize
    if bytes_each > MOST_OF_A_CHUNK:
        raise ShardError(f"{name} have chunks {chunks}, {bytes_each} bytes each; expected at most {MOST_OF_A_CHUNK}")
    grid = [-(-length // step) for length, step in zip(shape, chunks, strict=True)]
    places = _places(dataset, chunks, grid, size)
    stored = 0 if places is None else int(places[:, 1].sum())
    best = DEFLATE_AT_BEST if DEFLATE in numbers else 1
    if places is None or stored > size or dataset.nbytes > best * stored:
        raise ShardError(
            f"{name} declare {dataset.nbytes} bytes and store {stored} in a file of {size}; "
            "expected every chunk stored inside it"
        )
    if places[:, 1].max() > bytes_each + (bytes_each >> 6) + 64:  # no filter here makes a chunk longer than that
        raise ShardError(f"{name} store {places[:, 1].max()} bytes for a chunk of {bytes_each}")
    return Stored(shape, dtype, chunks=chunks, places=places, filters=numbers)


def _places(dataset: h5py.Dataset, chunks: tuple[int, ...], grid: list[int], size: int) -> np.ndarray | None:
    """Offset, length and skipped filters of every chunk, in the order of the grid; None unless all are in the file."""
    count, dims = math.prod(grid), len(grid)
    if not 0 < count <= max(1, size // _BYTES_A_CHUNK) or dataset.id.get_num_chunks() != count:
        return None
    table = np.empty((count, dims + 3), np.uint64)
    rows = iter(table)

    def note(chunk: Any) -> bool | None:
        row = next(rows, None)
        if row is None:
            return True  # an index that has more than it says
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


def _inflate(data: bytes, size: int, itemsize: int) -> bytes:
    unpack = zlib.decompressobj()
    limit = size + 4  # a checksum may be inside
    result = unpack.decompress(data, limit)
    if not unpack.eof and len(result) == limit:
        raise ValueError(f"it unpacks to more than {size} bytes")
    if not unpack.eof:
        raise ValueError("its gzip stream is cut short")
    return result


def _unshuffle(data: bytes, size: int, itemsize: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"it has {len(data)} bytes, expected {size}")
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()


def _checked(data: bytes, size: int, itemsize: int) -> bytes:
    content, sums = data[:-4], int.from_bytes(data[-4:], "little")
    if len(data) < 4 or fletcher32(content) != sums:
        raise ValueError("it does not fit its checksum")
    return content


_UNDO = {DEFLATE: _inflate, SHUFFLE: _unshuffle, FLETCHER32: _checked}


def fletcher32(data: bytes) -> int:
    """The checksum of HDF5's filter: sums of 16-bit big-endian words, and of those sums, folded to 16 bits each.

    >>> hex(fletcher32(b"abcde"))
    '0x4ff029c7'
    """
    words = np.frombuffer(data + b"\0" if len(data) % 2 else data, ">u2")
    first = second = 0
    for start in range(0, len(words), _WORDS_AT_ONCE):
        part = words[start : start + _WORDS_AT_ONCE].astype(np.int64)
        second += first * len(part) + int(part @ np.arange(len(part), 0, -1))
        first += int(part.sum())
    return _fold(second) << 16 | _fold(first)


def _fold(total: int) -> int:
    """What is left of a sum when its carries are added back until it fits 16 bits."""
    return (total - 1) % 65535 + 1 if total else 0
