"""`HDF5Dataset`: other people's files, in the layouts they come in."""

from __future__ import annotations

import os
import pickle
import zlib

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from augmentor._internal.datasets import dataset_labels, fetch
from augmentor.data import BlockSampler, HDF5Dataset, load_source
from augmentor.exceptions import AugmentorWarning, DataError, InputError, RangeError, ShardError

COUNT = 30
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 8, 9), np.uint8)
LABELS = np.arange(COUNT) % 3


def write(path, images=PIXELS, labels=LABELS, names=("images", "labels"), **options):
    with h5py.File(path, "w") as file:
        file.create_dataset(names[0], data=images, **options)
        if labels is not None:
            file.create_dataset(names[1], data=labels)
    return path


CHUNKED = {"chunks": (7, 3, 4, 9), "compression": "gzip", "shuffle": True}


@pytest.mark.parametrize("options", [{}, CHUNKED])
def test_items(tmp_path, options):
    data = HDF5Dataset(write(tmp_path / "a.h5", **options))
    image, label = data[7]
    assert torch.equal(image, torch.from_numpy(PIXELS[7]))
    assert image.dtype == torch.uint8
    assert label == 1
    assert type(label) is int
    assert len(data) == COUNT
    assert data.image_shape == (3, 8, 9)
    assert data.classes == ["0", "1", "2"]
    assert dataset_labels(data).tolist() == LABELS.tolist()
    rows = [29, 0, -1, 5, 5, 14]
    images, labels = fetch(data, rows)
    assert torch.equal(images, torch.from_numpy(PIXELS[rows]))
    assert labels.tolist() == LABELS[rows].tolist()
    assert data.__getitems__([]) == []
    for index in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=str(index)):
            data[index]


@pytest.mark.parametrize(
    "images",
    [
        PIXELS[:, 0],
        PIXELS[:, :1].transpose(0, 2, 3, 1),
        PIXELS / 255,
        (PIXELS.transpose(0, 2, 3, 1) / 255).astype(">f4"),
    ],
    ids=["NHW", "NHW1", "float64", "big-endian NHWC"],
)
def test_every_layout_becomes_channels_first(tmp_path, images):
    expected = torch.from_numpy(PIXELS[:, :1] if images.ndim == 3 or 1 in images.shape[1:] else PIXELS)
    for options in ({}, {"chunks": True, "compression": "gzip"}):
        found = fetch(HDF5Dataset(write(tmp_path / "a.h5", images, **options)), range(COUNT))[0]
        assert torch.equal(found, expected if images.dtype == np.uint8 else expected / 255)


def test_more_than_8_bits_and_more_than_3_channels(tmp_path):
    scans = np.random.default_rng(0).integers(-1000, 3001, (COUNT, 16, 16, 5)).astype(np.int16)
    path = write(tmp_path / "a.h5", scans)
    data = load_source(f"h5:{path}#images,labels#value_range=-1000,3000")
    assert data.image_shape == (5, 16, 16)
    assert torch.allclose(data[3][0], torch.from_numpy((scans[3].transpose(2, 0, 1) + 1000) / 4000).float())
    with pytest.warns(AugmentorWarning, match=r"up to 4000 of 65535.*value_range=\(0, 4095\)"):
        dark = HDF5Dataset(write(tmp_path / "b.h5", (scans + 1000).astype(np.uint16)))
    assert torch.allclose(65535 * dark[3][0], 4000 * data[3][0], atol=0.01)


def test_names_labels_classes_and_transform_are_arguments(tmp_path):
    path = write(tmp_path / "a.h5", names=("train/x", "train/y"), labels=LABELS.astype(np.uint8)[:, None])
    data = HDF5Dataset(path, images="train/x", labels="train/y", classes=["a", "b", "c"], transform=lambda x: x.float())
    assert data.classes == ["a", "b", "c"]
    assert data[4][0].dtype == torch.float32
    assert [label for _, label in data] == LABELS.tolist()
    assert HDF5Dataset(path, images="train/x", labels=None).targets.tolist() == [0] * COUNT


def test_items_may_be_written_to(tmp_path):
    data = HDF5Dataset(write(tmp_path / "a.h5"))
    data[0][0].zero_()
    assert torch.equal(data[0][0], torch.from_numpy(PIXELS[0]))


def test_whole_chunks_are_read_once_in_a_block_shuffle_and_never_through_h5py(tmp_path, monkeypatch):
    """h5py reads single rows of chunked data tens of times slower than whole chunks."""
    data = HDF5Dataset(write(tmp_path / "a.h5", **CHUNKED))
    assert data.blocks.tolist() == [0, 7, 14, 21, 28, COUNT]
    unpacked, unpack = [], zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda: (unpacked.append(1), unpack())[1])
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read through h5py"))
    loader = DataLoader(data, batch_size=4, sampler=BlockSampler(data, window=3))
    assert sum(len(images) for images, _ in loader) == COUNT
    assert len(unpacked) == 10  # five bands of two chunks


def test_a_forked_process_and_a_pickle_read_on(tmp_path):
    data = HDF5Dataset(write(tmp_path / "a.h5", **CHUNKED))
    expected = data[3][0]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(data[3][0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(pickle.loads(pickle.dumps(data))[3][0], expected)


@pytest.mark.parametrize(
    ("images", "labels", "error", "said"),
    [
        (np.zeros((4, 8, 8, 8), "u1"), np.arange(4), DataError, "images of shape"),
        (np.zeros((4, 8, 8), "i4"), np.arange(4), InputError, "has int32 values; expected uint8"),
        (np.zeros((4, 8, 8), "u1"), np.arange(3), ShardError, "expected one label per image"),
        (np.zeros((4, 8, 8), "u1"), np.zeros(4), DataError, "class numbers"),
        (np.zeros((4, 8, 8), "u1"), np.arange(4) + 10**6, DataError, "1000003"),
        (np.zeros((4, 8, 8), [("a", "u1")]), np.arange(4), ShardError, "integers or floats"),
        (h5py.Empty("u1"), np.arange(4), ShardError, "shape"),
    ],
)
def test_what_does_not_fit(tmp_path, images, labels, error, said):
    with pytest.raises(error, match=said):
        HDF5Dataset(write(tmp_path / "a.h5", images, labels))


def test_values_outside_the_range_are_found_when_they_are_read(tmp_path):
    images = np.zeros((4, 8, 8), np.float32)
    images[2] = 7
    data = HDF5Dataset(write(tmp_path / "a.h5", images, np.arange(4)))
    data[0]
    with pytest.raises(RangeError, match=r"a\.h5 \(in 1 of its 4 images\) has float32 values from 7 to 7"):
        data[2]


def test_what_is_not_there_or_not_hdf5(tmp_path):
    path = write(tmp_path / "a.h5")
    with pytest.raises(ShardError, match=r"no 'pictures'; it holds 'images', 'labels'; name .*h5:FILE#IMAGES,LABELS"):
        HDF5Dataset(path, images="pictures")
    path.write_text("a,b,c")
    for wrong in (path, tmp_path / "absent.h5", tmp_path):
        with pytest.raises(ShardError, match="cannot read 'images'"):
            HDF5Dataset(wrong)


def test_other_filters_are_refused(tmp_path):
    with pytest.raises(ShardError, match="filters"):
        HDF5Dataset(write(tmp_path / "a.h5", chunks=(7, 3, 4, 9), compression="lzf"))


def test_links_that_the_user_names_are_followed_and_links_inside_are_not(tmp_path):
    write(tmp_path / "a.h5")
    (tmp_path / "b.h5").symlink_to(tmp_path / "a.h5")
    assert len(HDF5Dataset(tmp_path / "b.h5")) == COUNT
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["images"], file["labels"] = h5py.ExternalLink("a.h5", "/images"), LABELS
    with pytest.raises(ShardError, match="ExternalLink"):
        HDF5Dataset(tmp_path / "c.h5")


def test_as_a_data_argument(tmp_path):
    path = write(tmp_path / "a.h5")
    assert fetch(load_source(f"h5:{path}"), range(COUNT))[1].tolist() == LABELS.tolist()
    other = write(tmp_path / "b.hdf5", names=("train/x", "y"))
    assert load_source(f"h5:{other}#train/x,y").targets.tolist() == LABELS.tolist()
    assert load_source(f"h5:{other}#train/x").targets.tolist() == [0] * COUNT


def test_a_file_that_is_open_already_is_to_be_closed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((3, 4, 4), np.uint8)
    with h5py.File(tmp_path / "a.h5"), pytest.raises(ShardError, match="close the file if it is open in h5py"):
        HDF5Dataset(tmp_path / "a.h5", labels=None)
    assert len(HDF5Dataset(tmp_path / "a.h5", labels=None)) == 3
