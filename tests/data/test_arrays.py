"""Images as arrays of numbers: layouts, value ranges, any number of channels."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from augmentor._internal.datasets import fetch
from augmentor._internal.layout import channels_first
from augmentor.data import ArrayDataset, load_source
from augmentor.exceptions import AugmentorWarning, DataError, InputError, RangeError

VALUES = np.linspace(0, 1, 3 * 64, dtype=np.float32).reshape(3, 8, 8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_channels_are_found_first_or_last(channels):
    images = np.random.default_rng(0).random((5, channels, 16, 20))
    assert channels_first(images, "it") is images
    assert np.array_equal(channels_first(np.moveaxis(images, 1, 3), "it"), images)


@pytest.mark.parametrize("shape", [(5, 12, 8, 12), (5, 8, 8, 8), (5, 8), (5, 1, 2, 3, 4)])
def test_a_layout_that_is_open_or_none_is_refused(shape):
    with pytest.raises(DataError, match="expected"):
        channels_first(np.zeros(shape), "it")


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 255, "f4"), (0, 4095, "u2"), (-1000, 3000, "i2"), (-1, 1, "f8"), (0, 1, "?"), (0, 10**6, ">i4")],
)
def test_a_value_range_becomes_0_to_1(tmp_path, low, high, dtype):
    images = (VALUES * (high - low) + low).astype(dtype)
    np.savez(tmp_path / "a.npz", images=images)
    expected = torch.from_numpy((images.astype(np.float64) - low) / (high - low)).float()
    for data in (
        ArrayDataset(images, value_range=(low, high)),
        load_source(f"{tmp_path}/a.npz#value_range={low},{high}"),
    ):
        assert data.images.dtype == torch.float32
        assert torch.allclose(data.images[:, 0], expected)
        assert torch.equal(data[2][0], data.images[2])


def test_uint16_is_scaled_by_65535_and_floats_between_0_and_1_keep_their_values():
    images = (VALUES * 65535).astype(np.uint16)
    assert torch.equal(65535 * ArrayDataset(images).images[:, 0], torch.from_numpy(images.astype(np.float32)))
    assert torch.equal(ArrayDataset(VALUES).images[:, 0], torch.from_numpy(VALUES))


def test_uint16_of_fewer_bits_is_dark_and_warned_of():
    images = (VALUES * 4000).astype(np.uint16)
    with pytest.warns(AugmentorWarning, match="up to 4000 of 65535") as caught:
        ArrayDataset(images)
    value_range = eval(re.search(r"value_range=(\(.*?\))", str(caught[0].message)).group(1))
    assert ArrayDataset(images, value_range=value_range).images.max() > 0.97


@pytest.mark.parametrize("images", [VALUES * 250, VALUES * 4000 - 1000, (VALUES * 300).astype(np.int32)])
def test_other_values_are_refused_with_value_ranges_that_work(tmp_path, images):
    np.savez(tmp_path / "a.npz", images=images)
    with pytest.raises(RangeError, match=r"a\.npz has .* values from .*FILE#value_range=") as caught:
        load_source(tmp_path / "a.npz")
    asked = re.search(r"value_range=(\(.*?\)), or FILE(#\S+)", str(caught.value))
    made = load_source(f"{tmp_path}/a.npz{asked.group(2)}").images
    assert torch.equal(ArrayDataset(images, value_range=eval(asked.group(1))).images, made)
    assert 0.9 < made.max() <= 1


def test_values_outside_their_range_and_ranges_that_are_none_are_refused(tmp_path):
    with pytest.raises(RangeError, match=r"from 0 to 255; expected values in value_range=\(0, 100\).*np\.clip"):
        ArrayDataset(VALUES * 255, value_range=(0, 100))
    with pytest.raises(RangeError, match="NaN"):
        ArrayDataset(np.full((3, 8, 8), np.nan), value_range=(0, 100))
    for value_range in ((5, 5), (1, 0), (0, np.inf), (0, 1, 2), "ab", 7):
        with pytest.raises(InputError, match="value_range must be"):
            ArrayDataset(VALUES, value_range=value_range)
    np.savez(tmp_path / "a.npz", images=VALUES)
    for text in ("", "0", "0,b", "0,1,2"):
        with pytest.raises(InputError, match="expected two numbers"):
            load_source(f"{tmp_path}/a.npz#value_range={text}")


def test_the_arrays_of_the_caller_stay_as_they_are():
    images = np.array(VALUES * 7)
    ArrayDataset(torch.from_numpy(images)[:, None], value_range=(0, 7))
    assert np.array_equal(images, VALUES * 7)


def test_a_batch_is_the_items_and_a_subclass_with_other_items_is_respected():
    class Inverted(ArrayDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 255 - image, label

    images = torch.arange(4 * 64, dtype=torch.uint8).reshape(4, 1, 8, 8)
    labels, rows = torch.tensor([2, 0, 1, 1]), [3, 0, -1]
    for kind, wanted in ((ArrayDataset, images), (Inverted, 255 - images)):
        data = kind(images, labels)
        found, their_labels = fetch(data, rows)
        assert torch.equal(found, wanted[rows])
        assert (their_labels.dtype, their_labels.tolist()) == (torch.int64, [1, 2, 1])
        (loaded, _) = next(iter(DataLoader(data, batch_size=4)))
        assert torch.equal(loaded, wanted)
    with pytest.raises(IndexError):
        fetch(ArrayDataset(images, labels), [4])
