"""What every shard format promises, and what is special about tar files."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from test_generate import augmenter, content, generate, real

from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import InputError, ShardError
from augmentor.shards import ShardDataset, encode_tar, read_manifest, verified
from augmentor.shards.manifest import FORMATS, STORES, compressions


@pytest.mark.parametrize("name", FORMATS)
def test_every_format(tmp_path, name):
    form = FORMATS[name]()
    for store in STORES:
        for compression in compressions():
            folder, settings = tmp_path / f"{store}-{compression}", {"store": store, "compression": compression}
            if store not in form.stores or compression not in form.compressions:
                with pytest.raises(InputError, match=f"format='{name}' takes"):
                    generate(folder, format=name, **settings)
                assert not folder.exists()
                continue
            expected = content(generate(folder, format=name, **settings))
            assert sorted(expected) == ["manifest.json", *(f"shard-{unit:05d}{form.suffix}" for unit in range(5))]
            manifest = read_manifest(folder / "manifest.json")
            assert manifest.files == name
            assert [error for _, error in verified(folder, manifest)] == [None] * 5
            assert form.rows_at_once(manifest, 7) in range(1, 8)
            third = folder / manifest.file_name(2)
            third.write_bytes(third.read_bytes()[:-1] + b"?")
            assert [entry.file for entry, error in verified(folder, manifest) if error] == [manifest.file_name(2)]
            assert content(generate(folder, format=name, **settings)) == expected
            for part in ((2, 9), (0, 2)):
                generate(tmp_path / "parts" / folder.name, format=name, unit_range=part, **settings)
            assert content(tmp_path / "parts" / folder.name) == expected
            if not form.readable:
                with pytest.raises(ShardError, match=name):
                    ShardDataset(folder)


def test_members_of_a_tar_file():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 9), np.uint8)
    numbers = {"source_index": np.arange(6).reshape(3, 2), "copy": np.arange(3, dtype=np.int32)}
    made = {"images": pixels, "labels": np.array([2, 0, 1]), **numbers}
    with tarfile.open(fileobj=io.BytesIO(encode_tar(made, first=10**11))) as tar:
        members = tar.getmembers()
        files = {member.name: tar.extractfile(member).read() for member in members}
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }
    found = np.asarray(Image.open(io.BytesIO(files["100000000001.png"])))
    np.testing.assert_array_equal(found.transpose(2, 0, 1), pixels[1])
    assert files["100000000000.cls"] == b"2"
    assert json.loads(files["100000000002.json"]) == {"copy": 2, "source_index": [4, 5]}


@pytest.mark.parametrize("channels", [1, 3])
def test_webdataset_reads_the_images_of_the_hdf5_shards(tmp_path, channels):
    data = real()
    if channels == 3:
        data = ArrayDataset(data.images.expand(-1, 3, -1, -1), data.targets, data.classes)
        colourful = get_autoencoder("spatial_kl")(channels=3, width=8)
    augment = None if channels == 1 else augmenter("interpolate(same_class=False)", colourful)
    folder = generate(tmp_path / "tar", data, augment, format="webdataset")
    expected = ShardDataset(generate(tmp_path / "hdf5", data, augment))
    urls = [str(folder / entry.file) for entry in read_manifest(folder / "manifest.json").shards]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in found] == [f"{number:012d}" for number in range(30)]
    for number, (sample, (image, label)) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(sample["png"][..., :channels], image.permute(1, 2, 0).numpy())
        about = sample["json"]
        assert (about["copy"], about["source_index"]) == (number // 12, [number % 12])
        assert sample["cls"] == label if channels == 1 else torch.tensor(about["label"]).equal(label)
