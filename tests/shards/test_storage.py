"""Finding and reading rows without the HDF5 library: the same as with it, for every layout that is allowed."""

from __future__ import annotations

import zlib

import h5py
import numpy as np
import pytest

from augmentor.exceptions import ShardError
from augmentor.shards.rows import BlockCache, fletcher32, rows_of
from augmentor.shards.storage import stored_in


def written(path, array, name="x", libver="latest", **options):
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset(name, data=array, **options)
    with h5py.File(path, "r") as file:
        return stored_in(file, name, path.stat().st_size)


@pytest.mark.parametrize("length", [1, 2, 131_072, 300_001])
def test_the_checksum_is_that_of_the_library(tmp_path, length):
    random = np.random.default_rng(length)
    for data in (random.integers(0, 256, length, np.uint8), np.full(length, 255, np.uint8), np.zeros(length, np.uint8)):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("x", data=data, chunks=(length,), fletcher32=True)
            _, stored = file["x"].id.read_direct_chunk((0,))
        assert fletcher32(data.tobytes()) == int.from_bytes(stored[-4:], "little")


ARRAYS = {
    "one dimension": ((50,), (7,)),
    "whole rows": ((40, 3, 8, 8), (9, 3, 8, 8)),
    "parts of rows": ((40, 7, 9, 3), (30, 2, 4, 1)),
    "one chunk": ((40, 3, 8, 8), (40, 3, 8, 8)),
    "chunks longer than the data": ((10,), (1024,)),
    "the library's choice": ((200, 17, 9, 3), True),
}


@pytest.mark.parametrize("layout", ARRAYS)
def test_rows_are_those_that_the_library_reads(tmp_path, layout):
    shape, chunks = ARRAYS[layout]
    random = np.random.default_rng(0)
    rows, path = random.integers(0, shape[0], 60), tmp_path / "a.h5"
    for dtype, libver, gzip, checksum, shuffle in (
        ("u1", "latest", None, False, False), ("u1", "earliest", "gzip", True, True),
        ("<f4", "latest", "gzip", False, True), (">i8", "latest", "gzip", True, False),
        (">i8", "earliest", None, True, True), ("<i2", "earliest", "gzip", False, False),
    ):  # fmt: skip
        array = (random.random(shape) * 100).astype(dtype)
        options = {"chunks": chunks, "compression": gzip, "fletcher32": checksum, "shuffle": shuffle}
        if layout == "chunks longer than the data":
            options["maxshape"] = (None,)
        found = rows_of(path, written(path, array, libver=libver, **options), BlockCache())
        np.testing.assert_array_equal(found[rows], array[rows])
        np.testing.assert_array_equal(found[3:9], array[3:9])
        assert found[rows].dtype == array.dtype
        assert found[np.array([], np.int64)].shape == (0, *shape[1:])


def test_noise_that_gzip_could_not_shrink_is_read(tmp_path):
    """The library then leaves the filter out, chunk by chunk, and says so in a mask."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 3, 16, 16), np.uint8)
    noise[:32] = 0
    stored = written(tmp_path / "a.h5", noise, chunks=(32, 3, 16, 16), compression="gzip", fletcher32=True)
    np.testing.assert_array_equal(rows_of(tmp_path / "a.h5", stored, BlockCache())[np.arange(64)], noise)


def test_data_in_groups_are_found_by_their_path_without_links(tmp_path):
    assert written(tmp_path / "a.h5", np.arange(5), "train/deep/x").shape == (5,)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        assert stored_in(file, "/train/deep/x/", 10**6).shape == (5,)
        file["link"] = h5py.SoftLink("/train")
        for name in ("train", "train/other", "train/deep/x/y", "", "train/../train", "link/deep/x"):
            with pytest.raises(ShardError):
                stored_in(file, name, 10**6)


@pytest.mark.parametrize("damage", ["checksum", "stream", "short", "end"])
def test_a_damaged_chunk_is_a_shard_error_when_it_is_read(tmp_path, damage):
    path, array = tmp_path / "a.h5", np.arange(1000) % 7
    stored = written(path, array, chunks=(500,), compression="gzip", fletcher32=damage == "checksum")
    offset, length, _ = stored.places[1].tolist()
    data = bytearray(path.read_bytes())
    if damage == "checksum":
        data[offset + length - 1] ^= 1
    elif damage == "stream":
        data[offset + length // 2] ^= 0x55
    elif damage == "short":
        packed = zlib.compress(bytes(100))
        data[offset : offset + len(packed)] = packed
    else:
        data = data[: offset + 3]
    path.write_bytes(data)
    rows = rows_of(path, stored, BlockCache())
    if damage != "end":
        np.testing.assert_array_equal(rows[np.arange(500)], array[:500])  # the other chunk is as it was
    with pytest.raises(ShardError, match=r"chunk 1 of .*a\.h5"):
        rows[np.array([700])]
