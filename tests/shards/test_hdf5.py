"""The HDF5 shard: round trip, and everything that a reader has to refuse."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import mmap

import h5py
import numpy as np
import pytest
from test_manifest import BASE

from augmentor.exceptions import InputError, ShapeError, ShardError
from augmentor.shards import Manifest, ShardEntry, encode_shard, open_shard, verify_shard
from augmentor.shards.formats.hdf5 import chunk_rows

N, SHAPE, CLASSES = 40, (3, 16, 16), 3


def content(soft: bool = False, seed: int = 0, n: int = N, shape: tuple[int, int, int] = SHAPE) -> dict:
    random = np.random.default_rng(seed)
    labels = random.random((n, CLASSES), np.float32) if soft else random.integers(0, CLASSES, n)
    return {
        "images": random.integers(0, 256, (n, *shape), np.uint8),
        "labels": labels,
        "source_index": np.arange(n)[:, None],
        "copy": np.zeros(n, np.int32),
    }


def manifest_for(data: bytes, compression: str = "none", soft: bool = False, n: int = N, **changes) -> Manifest:
    entry = ShardEntry("shard-00000.h5", n, hashlib.sha256(data).hexdigest(), len(data))
    settings = {"image_shape": SHAPE, "labels": "soft" if soft else "int64", "class_names": ("a", "b", "c"), **changes}
    settings = {"num_samples": n, "shard_size": n, "compression": compression, **settings}
    return dataclasses.replace(BASE, shards=(entry,), **settings)


def opened(path, data: bytes, compression: str = "none", **changes):
    path = path / "shard-00000.h5"
    path.write_bytes(data)
    manifest = manifest_for(data, compression, **changes)
    return open_shard(path, manifest.shards[0], manifest)


def forged(make, compression: str = "none") -> bytes:
    """A shard in which `make(file)` writes the arrays that are not in the usual `content`."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        make(file)
        for name, array in content().items():
            if name not in file and file.get(name, getlink=True, default=None) is None:
                options = {}
                if compression == "gzip":
                    options = {"chunks": (chunk_rows(name, array.shape), *array.shape[1:]), "compression": "gzip"}
                file.create_dataset(name, data=array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_round_trip(tmp_path, compression, soft):
    arrays = content(soft)
    data = encode_shard(arrays, attributes={"seed": 3, "names": ["é", "\0"]}, compression=compression)
    shard = opened(tmp_path, data, compression, soft=soft)
    assert len(shard) == N
    for rows in (np.arange(N), np.array([7, 0, 39, 7]), np.array([], np.int64)):
        np.testing.assert_array_equal(shard.content[rows], arrays["images"][rows])
    for name, found in (("labels", shard.labels), ("source_index", shard.source_index), ("copy", shard.draw_index)):
        np.testing.assert_array_equal(found, arrays[name])
        assert found.dtype == arrays[name].dtype
    verify_shard(tmp_path / "shard-00000.h5", manifest_for(data).shards[0])
    with h5py.File(tmp_path / "shard-00000.h5", locking=False) as file:
        assert file.attrs["seed"] == 3
        assert file.attrs["names"] == '["\\u00e9", "\\u0000"]'


def test_images_are_mapped_and_cannot_be_written(tmp_path):
    shard = opened(tmp_path, encode_shard(content(), attributes={}))
    assert isinstance(shard.content.base, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        shard.content[0] = 0


def test_chunks_are_small_and_none_is_larger_than_its_reader_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("augmentor.shards.formats.hdf5.MOST_OF_A_CHUNK", 1000)
    arrays = content(True, n=200)
    data = encode_shard(arrays, attributes={}, compression="gzip")
    with h5py.File(io.BytesIO(data)) as file:
        assert all(np.prod(file[name].chunks) * file[name].dtype.itemsize <= 64 << 10 for name in arrays)
        assert len(arrays["labels"]) > file["labels"].chunks[0]
    shard = opened(tmp_path, data, "gzip", soft=True, n=200)
    np.testing.assert_array_equal(shard.labels, arrays["labels"])
    rows = np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(shard.content[rows], arrays["images"][rows])


def test_the_writer_checks_its_arrays():
    for change in (
        {"images": content()["images"].astype(np.float32)},
        {"labels": content()["labels"].astype(np.int32)},
        {"labels": content()["labels"][:5]},
        {"source_index": np.zeros(N, np.int64)},
        {name: array[:0] for name, array in content().items()},
    ):
        with pytest.raises(ShapeError, match="got"):
            encode_shard({**content(), **change}, attributes={})
    with pytest.raises(InputError, match="gzip"):
        encode_shard(content(), attributes={}, compression="lzf")


# ---------------------------------------------------------------------------- files of somebody else


def dataset(name, **options):
    """Makes a data set of `content` in another way; `of` changes the array."""
    of = options.pop("of", lambda array: array)
    return lambda file: file.create_dataset(name, data=of(content()[name]), **options)


def put(name, value):
    return lambda file: file.__setitem__(name, value)


def _soft_link(file):
    file["other"] = content()["images"]
    file["images"] = h5py.SoftLink("/other")


def _never_stored(file, **options):  # declares more than the file has; would read as zeros
    file.create_dataset("images", (N, *SHAPE), np.uint8, **options)


CHUNK = (chunk_rows("images", (N, *SHAPE)), *SHAPE)

FOREIGN = [
    ("none", _soft_link, "holds"),
    ("none", put("images", h5py.SoftLink("/labels")), "SoftLink"),
    ("none", lambda file: file.create_dataset("labels", (N,), h5py.vlen_dtype(np.int64)), "type"),
    ("none", put("labels", np.zeros(N, [("a", "<i4"), ("b", "<i4")])), "type"),
    ("none", dataset("labels", of=lambda labels: labels.astype(">i8")), "little-endian"),
    ("none", dataset("labels", of=lambda labels: labels.astype("f8")), "expected int64"),
    ("none", lambda file: file.create_group("images"), "Group"),
    ("none", put("images", np.uint8(0)), "shape"),
    ("none", put("more", np.arange(3)), "holds"),
    ("none", dataset("images", of=lambda images: images[:5]), "shape"),
    ("none", put("source_index", np.zeros((N, 1000), np.int64)), "shape"),
    ("none", dataset("images", maxshape=(None, *SHAPE), chunks=(N, *SHAPE)), "contiguous"),
    ("none", _never_stored, "stores 0"),
    ("gzip", dataset("images", chunks=CHUNK, compression="lzf"), "filters"),
    ("gzip", dataset("labels", chunks=(1,), compression="gzip"), "chunks"),
    ("gzip", lambda file: _never_stored(file, chunks=CHUNK, compression="gzip"), "every chunk"),
    ("gzip", dataset("images"), "chunks"),
]


@pytest.mark.parametrize(("compression", "make", "message"), FOREIGN)
def test_foreign_files_are_refused(tmp_path, compression, make, message):
    with pytest.raises(ShardError, match=message):
        opened(tmp_path, forged(make, compression), compression)


def test_shuffle_is_allowed(tmp_path):
    shuffled = dataset("images", chunks=CHUNK, compression="gzip", shuffle=True, fletcher32=True)
    shard = opened(tmp_path, forged(shuffled, "gzip"), "gzip")
    np.testing.assert_array_equal(shard.content[np.arange(N)], content()["images"])


def test_a_dataset_that_is_missing_is_named(tmp_path):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file["images"] = content()["images"]
    with pytest.raises(ShardError, match="expected images, labels"):
        opened(tmp_path, buffer.getvalue())


@pytest.mark.parametrize(
    "change",
    [{"image_shape": (3, 16, 8)}, {"labels": "soft"}, {"class_names": ("a",)}, {"compression": "gzip"}],
)
def test_a_manifest_of_something_else_is_refused(tmp_path, change):
    with pytest.raises(ShardError):
        opened(tmp_path, encode_shard(content(), attributes={}), **change)


def test_labels_beyond_the_classes_are_refused_and_ignored_ones_are_not(tmp_path):
    arrays = content()
    arrays["labels"][3] = -100
    opened(tmp_path, encode_shard(arrays, attributes={}))
    arrays["labels"][3] = 77
    with pytest.raises(ShardError, match="up to 77"):
        opened(tmp_path, encode_shard(arrays, attributes={}))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_truncation_is_refused(tmp_path, compression):
    data = encode_shard(content(), attributes={}, compression=compression)
    path = tmp_path / "shard-00000.h5"
    manifest = manifest_for(data, compression)
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ShardError, match="truncated"):
            open_shard(path, manifest.shards[0], manifest)
        # A manifest that was truncated along with it has the right length and still opens nothing false.
        if length:
            entry = dataclasses.replace(manifest.shards[0], bytes=length)
            with pytest.raises(ShardError):
                open_shard(path, entry, manifest)
    path.unlink()
    with pytest.raises(ShardError, match="missing"):
        open_shard(path, manifest.shards[0], manifest)
