"""Files of strangers: what each attack would do, and that it is refused before it costs anything.

The attacks on one shard's links, types and layouts stand in `test_hdf5.py`; here are those that reach for other files,
for memory, or for the reader's patience. Each is tried in a process that may take 48 MB more than it has.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "faults"))

from mutations import lookup3
from test_hdf5 import SHAPE, N, content, forged, manifest_for, opened

from augmentor._internal.datasets import fetch
from augmentor.data import HDF5Dataset
from augmentor.exceptions import AugmentorError, ShardError
from augmentor.shards import ShardDataset, encode_shard, read_manifest, verify_shard
from augmentor.shards.formats.hdf5 import chunk_rows

ROOM = 48 << 20


def refused(work) -> str:
    """The text of the typed error that `work` raises; in a fork, where it may take little memory and 30 seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
        try:
            said = f"it was read: {work()!r:.200}"
        except AugmentorError as error:
            said = f"{type(error).__name__}: {error}"
        except BaseException as error:
            said = f"not typed: {type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        said = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the process died"
    assert "Error: " in said, said
    assert not said.startswith("not typed"), said
    return said


def folder_of(path: Path, data: bytes | None = None, compression: str = "none", **changes) -> Path:
    """A shard folder; by default an honest one."""
    data = encode_shard(content(), {"seed": 0}, compression) if data is None else data
    manifest = manifest_for(data, compression, **changes)
    path.mkdir(exist_ok=True)
    (path / "shard-00000.h5").write_bytes(data)
    manifest.write(path / "manifest.json")
    return path


def everything(folder: Path, verify: bool = True):
    """What a training does with a folder."""
    return fetch(ShardDataset(folder, verify=verify), range(N))[0].sum()


def test_an_honest_folder_is_read_in_that_room(tmp_path):
    for compression in ("none", "gzip"):
        folder = folder_of(tmp_path / compression, compression=compression)
        with pytest.raises(AssertionError, match="it was read"):
            refused(lambda folder=folder: everything(folder))


# ---------------------------------------------------------------------------- other files


@pytest.mark.parametrize("what", ["external storage", "external link", "virtual"])
def test_another_file_of_the_user_is_not_read(tmp_path, what):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = content()["images"]

    def make(file):
        if what == "external storage":
            file.create_dataset(
                "images", (N, *SHAPE), "u1", external=[(str(tmp_path / "secret.h5"), 0, N * np.prod(SHAPE))]
            )
        elif what == "external link":
            file["images"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/images")
        else:
            layout = h5py.VirtualLayout((N, *SHAPE), "u1")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "images", (N, *SHAPE))
            file.create_virtual_dataset("images", layout)

    folder = folder_of(tmp_path / "shards", forged(make))
    assert "ShardError" in refused(lambda: everything(folder))
    plain = tmp_path / "plain.h5"
    plain.write_bytes(forged(make))
    assert "ShardError" in refused(lambda: HDF5Dataset(plain))


@pytest.mark.parametrize("name", ["shard-00000.h5", "manifest.json"])
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_links_in_the_folder_are_not_followed(tmp_path, name, place):
    folder = folder_of(tmp_path / "shards")
    target = (tmp_path if place == "outside" else folder) / "elsewhere"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    said = refused(lambda: everything(folder, verify=False))
    assert "link" in said.lower()
    assert name in said


def test_a_folder_that_is_itself_a_link_is_the_users_own_choice(tmp_path):
    folder_of(tmp_path / "shards")
    (tmp_path / "link").symlink_to(tmp_path / "shards")
    assert len(ShardDataset(tmp_path / "link", verify=True)) == N


@pytest.mark.parametrize("name", ["shard-00000.h5", "manifest.json"])
def test_a_pipe_in_place_of_a_file_does_not_stop_the_reader(tmp_path, name):
    folder = folder_of(tmp_path / "shards")
    entry = read_manifest(folder / "manifest.json").shards[0]
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert name in refused(lambda: everything(folder))
    if name != "manifest.json":
        refused(lambda: verify_shard(folder / name, entry))
        refused(lambda: HDF5Dataset(folder / name))


def test_a_folder_or_a_device_in_place_of_a_file_is_refused(tmp_path):
    folder = folder_of(tmp_path / "shards")
    (folder / "shard-00000.h5").unlink()
    (folder / "shard-00000.h5").mkdir()
    assert "folder" in refused(lambda: everything(folder))
    refused(lambda: HDF5Dataset("/dev/zero"))
    refused(lambda: read_manifest("/dev/zero"))


# ---------------------------------------------------------------------------- memory


def _bomb(name: str, unpacked: int):
    """One chunk of a data set unpacks to more than a chunk is."""

    def make(file):
        array = content()[name]
        chunk = (chunk_rows(name, array.shape), *array.shape[1:])
        file.create_dataset(name, array.shape, array.dtype, chunks=chunk, compression="gzip")
        pack = zlib.compressobj(9)
        packed = b"".join(pack.compress(bytes(1 << 20)) for _ in range(unpacked >> 20)) + pack.flush()
        for start in range(0, N, chunk[0]):
            file[name].id.write_direct_chunk((start, *(0,) * (array.ndim - 1)), packed)

    return make


def test_a_chunk_that_unpacks_to_a_hundred_times_its_size_is_not_unpacked(tmp_path):
    folder = folder_of(tmp_path / "shards", forged(_bomb("images", 30 << 20), "gzip"), "gzip")
    assert (folder / "shard-00000.h5").stat().st_size < 100_000
    assert "more than" in refused(lambda: everything(folder))


def test_a_chunk_longer_than_any_packed_one_is_refused(tmp_path):
    for name in ("images", "labels"):
        folder = folder_of(tmp_path / name, forged(_bomb(name, 64 << 20), "gzip"), "gzip")
        assert "store" in refused(lambda folder=folder: everything(folder))
    (tmp_path / "plain.h5").write_bytes(forged(_bomb("labels", 64 << 20), "gzip"))
    refused(lambda: HDF5Dataset(tmp_path / "plain.h5"))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_declared_sizes_are_held_against_the_file(tmp_path, compression):
    folder = folder_of(tmp_path / "shards", compression=compression)
    document = json.loads((folder / "manifest.json").read_text())
    for count in (10**6, 10**12, 2**62):
        document.update(num_samples=count, shard_size=count)
        document["shards"][0]["count"] = count
        (folder / "manifest.json").write_text(json.dumps(document))
        refused(lambda: everything(folder))
        refused(lambda: ShardDataset(folder).blocks)


def resealed(data: bytes, place: int, new: bytes) -> bytes:
    """The file with other bytes in an object header, whose checksum is computed again."""
    start = data.rindex(b"OHDR", 0, place)
    end = next(
        e for e in range(place, place + 2000) if lookup3(data[start:e]) == int.from_bytes(data[e : e + 4], "little")
    )
    changed = data[:place] + new + data[place + len(new) :]
    return changed[:end] + struct.pack("<I", lookup3(changed[start:end])) + changed[end + 4 :]


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("shape", [(2**32, 2**31, 2, 2**5), (2**62 + N, 3, 16, 16)])
def test_dimensions_that_overflow_are_refused(tmp_path, shape, compression):
    """Multiplied in 64 bits they seem small."""
    honest = forged(lambda file: None, compression)
    sizes = struct.pack("<4Q", N, *SHAPE)
    place = honest.index(sizes * 2)  # the sizes, and the largest sizes
    data = resealed(honest, place, struct.pack("<4Q", *shape) * 2)
    folder = folder_of(tmp_path / "shards", data, compression)
    refused(lambda: everything(folder))
    (tmp_path / "plain.h5").write_bytes(data)
    refused(lambda: HDF5Dataset(tmp_path / "plain.h5", labels=None))


def test_a_plain_file_that_claims_terabytes_is_refused(tmp_path):
    path = tmp_path / "plain.h5"
    for options in ({}, {"chunks": (1, 64, 64, 3)}, {"chunks": (1024, 64, 64, 3), "compression": "gzip"},
                    {"chunks": (40_000, 64, 64, 3), "compression": "gzip"}):  # fmt: skip
        with h5py.File(path, "w") as file:
            file.create_dataset("images", (10**9, 64, 64, 3), "u1", **options)
            file.create_dataset("labels", (10**9,), "i8", chunks=(10**6,), compression="gzip")
        refused(lambda: HDF5Dataset(path))
        refused(lambda: HDF5Dataset(path, labels=None))


# ---------------------------------------------------------------------------- the head of the file


def _written(**options) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        for name, array in content().items():
            file[name] = array
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [{"libver": "earliest"}, {"userblock_size": 512}, {"libver": "latest", "fs_strategy": "page"}],
)
def test_only_the_writers_own_kind_of_file_is_opened(tmp_path, options):
    """Other superblocks have extensions, drivers or user blocks, which the library would follow before we look."""
    folder = folder_of(tmp_path / "shards", _written(**options))
    assert "first bytes" in refused(lambda: everything(folder))


def test_a_plain_file_with_a_user_block_or_of_several_parts_is_refused(tmp_path):
    (tmp_path / "plain.h5").write_bytes(_written(userblock_size=512))
    assert "begins with a user block of 512 bytes" in refused(lambda: HDF5Dataset(tmp_path / "plain.h5"))
    with h5py.File(tmp_path / "part-%d.h5", "w", driver="family", memb_size=1 << 20) as file:
        file["images"], file["labels"] = content()["images"], content()["labels"]
    refused(lambda: HDF5Dataset(tmp_path / "part-0.h5"))


@pytest.mark.parametrize("number", [h5py.h5z.FILTER_SZIP, 32000, 60000])
def test_foreign_filters_are_never_run(tmp_path, number):
    def make(file):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((chunk_rows("images", (N, *SHAPE)), *SHAPE))
        plan.set_filter(h5py.h5z.FILTER_DEFLATE, h5py.h5z.FLAG_OPTIONAL, (4,))
        space = h5py.h5s.create_simple((N, *SHAPE))
        dataset = h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, plan)
        dataset.write_direct_chunk((0, 0, 0, 0), zlib.compress(content()["images"].tobytes()))

    data = forged(make, "gzip")
    message = struct.pack("<HHH", 1, 1, 1) + struct.pack("<I", 4)  # gzip, optional, one value: 4
    place = data.index(message)
    data = resealed(data, place, struct.pack("<H", number))
    folder = folder_of(tmp_path / "shards", data, "gzip")
    refused(lambda: everything(folder))


# ---------------------------------------------------------------------------- the manifest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "[" * 10_000_000, "parts"),
        (lambda text: "[" * 500_000, "JSON"),
        (lambda text: "[" + "[]," * 5_000_000 + "[]]", "parts"),
        (lambda text: text.replace('"seed": 0', '"seed": NaN'), "NaN"),
        (lambda text: text.replace('"seed": 0', '"seed": 1e400'), "seed"),
        (lambda text: text.replace('"seed": 0', '"seed": ' + "9" * 5000), "JSON"),
        (lambda text: text.replace('"seed": 0', '"seed": 0, "seed": 1'), "duplicate name"),
        (lambda text: text.replace("gaussian(std=0.5)", "x" * 1_000_000), "policy"),
        (lambda text: "", "JSON"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_made_to_hurt(tmp_path, change, said):
    path = folder_of(tmp_path / "shards") / "manifest.json"
    path.write_text(change(path.read_text()))
    assert said in refused(lambda: everything(path.parent))


def test_a_manifest_without_end_is_not_read(tmp_path):
    folder = folder_of(tmp_path / "shards")
    with open(folder / "manifest.json", "ab") as file:
        file.truncate(1 << 36)
    assert "longer than" in refused(lambda: everything(folder))


def test_a_soft_label_that_is_no_number_is_refused(tmp_path):
    arrays = content(soft=True)
    arrays["labels"][3, 1] = np.nan
    with pytest.raises(ShardError, match="not finite"):
        opened(tmp_path, encode_shard(arrays, {}), soft=True)
