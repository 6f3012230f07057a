"""Read rows of a data set from the locations found by `storage`, without the HDF5 library.

A contiguous data set is a view of the mapped file. A chunked data set is read and decompressed here, chunk by chunk,
and recently used chunks are cached. Advantages (``benchmarks/chunks.py``):

- Memory is bounded, because zlib gets a maximum length. HDF5 decompresses a chunk completely, so 64 KiB of a file may
  need 64 MiB, whatever size the file declares.
- Speed is similar to h5py if it reads whole chunks with the same cache (0.5 to 1.9 times). If h5py reads single rows,
  it needs 11 to 14 times as long for shuffled batches of 256, and 1.2 to 1.6 times otherwise.
- No lock of the HDF5 library is held while reading, and no plug-in is loaded.
"""

from __future__ import annotations

import functools
import math
import mmap
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._internal.files import open_regular
from ..exceptions import ShardError
from .storage import DEFLATE, FLETCHER32, SHUFFLE, Stored

_WORDS_AT_ONCE = 1 << 16


def rows_of(path: Path, stored: Stored, cache: BlockCache) -> np.ndarray | ChunkedRows:
    """Return the array for reading: `rows_of(...)[rows]` with a slice or an int64 array of row numbers.

    Slices of a mapped array are read-only views of the file.
    """
    if stored.offset is None:
        return ChunkedRows(path, stored, cache)
    with open_regular(path) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(stored.shape, stored.dtype, mapped, stored.offset)  # faster than np.memmap


class BlockCache:
    """Cache of recently decompressed blocks, up to a number of bytes; for one process."""

    def __init__(self, max_bytes: int = 64 << 20):
        self._max_bytes, self._bytes = max_bytes, 0
        self._blocks: OrderedDict[Any, np.ndarray] = OrderedDict()

    def get(self, key: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the block of this key; make it if it is not cached."""
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
    """Rows of a chunked data set. Each chunk is read once and cached."""

    def __init__(self, path: Path, stored: Stored, cache: BlockCache):
        self.shape, self.dtype = stored.shape, stored.dtype
        self._path, self._stored, self._cache = path, stored, cache
        self._file, self._reading = open_regular(path), threading.Lock()  # threads share the file position
        self._chunks = stored.chunks or stored.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        band_of_row, row_of_band = np.divmod(rows, self._chunks[0])
        for band in np.unique(band_of_row).tolist():
            wanted = band_of_row == band
            block = self._cache.get((self._path, band), functools.partial(self._band, band))
            result[wanted] = block[row_of_band[wanted]]
        return result

    def _band(self, band: int) -> np.ndarray:
        """Return the rows of all chunks that begin at row ``band * chunks[0]``."""
        shape, chunks = self.shape, self._chunks
        count = min(chunks[0], shape[0] - band * chunks[0])
        if chunks[1:] == shape[1:]:
            return self._chunk(band)[:count]
        result = np.empty((count, *shape[1:]), self.dtype)
        grid = [-(-size // step) for size, step in zip(shape[1:], chunks[1:], strict=True)]
        for number, place in enumerate(np.ndindex(*grid), band * math.prod(grid)):
            here = (slice(0, count), *(slice(p * c, (p + 1) * c) for p, c in zip(place, chunks[1:], strict=True)))
            there = result[here]
            there[...] = self._chunk(number)[tuple(slice(0, n) for n in there.shape)]
        return result

    def _chunk(self, number: int) -> np.ndarray:
        stored = self._stored
        assert stored.places is not None
        offset, length, skipped = stored.places[number].tolist()
        size = math.prod(self._chunks) * self.dtype.itemsize
        try:
            with self._reading:
                self._file.seek(offset)
                data = self._file.read(length)
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
        return np.frombuffer(data, self.dtype).reshape(self._chunks)


def _inflate(data: bytes, size: int, itemsize: int) -> bytes:
    unpack = zlib.decompressobj()
    limit = size + 4  # the data may include a checksum
    result = unpack.decompress(data, limit)
    if not unpack.eof and len(result) == limit:
        raise ValueError(f"it decompresses to more than {size} bytes")
    if not unpack.eof:
        raise ValueError("its gzip stream is truncated")
    return result


def _unshuffle(data: bytes, size: int, itemsize: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"it has {len(data)} bytes, expected {size}")
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()


def _checked(data: bytes, size: int, itemsize: int) -> bytes:
    content, sums = data[:-4], int.from_bytes(data[-4:], "little")
    if len(data) < 4 or fletcher32(content) != sums:
        raise ValueError("it does not match its checksum")
    return content


_UNDO = {DEFLATE: _inflate, SHUFFLE: _unshuffle, FLETCHER32: _checked}


def fletcher32(data: bytes) -> int:
    """Return the checksum of HDF5's filter: sums of 16-bit big-endian words and of these sums, folded to 16 bits each.

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
    """Add the carries of a sum back until it fits into 16 bits."""
    return (total - 1) % 65535 + 1 if total else 0
