"""`ShardDataset`: items, indices, workers under every start method, and folders that are not one."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from augmentor._random import seeded
from augmentor.autoencoders import get_autoencoder
from augmentor.data.arrays import ArrayDataset
from augmentor.data.shard_dataset import ShardDataset
from augmentor.exceptions import ShardError
from augmentor.generate import generate_shards
from augmentor.items import dataset_labels, fetch
from augmentor.transform import LatentAugment

COUNT = 23


def make(folder, policy="gaussian(std=0.5)", **settings):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8), np.uint8)
    data = ArrayDataset(torch.from_numpy(pixels), torch.arange(10) % 3, ["a", "b", "c"])
    with seeded(0, "weights"):
        augment = LatentAugment(get_autoencoder("vae").example(), policy)
    return generate_shards(data, augment, folder, num_samples=COUNT, shard_size=5, micro_batch=4, **settings)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mapped"))


@pytest.fixture(scope="module")
def gzipped(tmp_path_factory):
    return make(tmp_path_factory.mktemp("gzipped"), compression="gzip")


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    return make(tmp_path_factory.mktemp("soft"), "interpolate(same_class=False)")


@pytest.fixture
def folder(mapped, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(mapped, tmp_path / "shards")


def test_items(mapped):
    data = ShardDataset(mapped, verify=True)
    image, label = data[7]
    assert image.dtype == torch.uint8
    assert image.shape == data.image_shape == (1, 8, 8)
    assert type(label) is int
    assert label == 7 % 3
    assert len(data) == COUNT
    assert data.classes == ["a", "b", "c"]
    assert data.targets.tolist() == [j % 10 % 3 for j in range(COUNT)]
    assert data.manifest.num_samples == COUNT
    assert dataset_labels(data).tolist() == data.targets.tolist()
    assert "23 images" in repr(data)


def test_soft_labels(soft):
    data = ShardDataset(soft)
    _, label = data[-1]
    assert label.dtype == torch.float32
    assert label.shape == (3,)
    assert data.targets.shape == (COUNT, 3)
    torch.testing.assert_close(data.targets.sum(1), torch.ones(COUNT))
    images, labels = next(iter(DataLoader(data, batch_size=4)))
    assert images.shape == (4, 1, 8, 8)
    assert torch.equal(labels, data.targets[:4])


def test_compression_changes_nothing_but_the_files(mapped, gzipped):
    plain, packed = ShardDataset(mapped), ShardDataset(gzipped)
    images, labels = fetch(plain, range(COUNT))
    packed_images, packed_labels = fetch(packed, range(COUNT))
    assert torch.equal(images, packed_images)
    assert torch.equal(labels, packed_labels)


def test_indices_behave_as_those_of_a_list(mapped):
    data = ShardDataset(mapped)
    as_list = list(data)
    assert len(as_list) == COUNT
    for index in (0, 4, 5, COUNT - 1, -1, -COUNT, np.int64(3), True):
        assert torch.equal(data[index][0], as_list[index][0])
        assert data[index][1] == as_list[index][1]
    for index in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=str(index)):
            data[index]
    for index in ("0", 0.5, None):
        with pytest.raises(TypeError):
            data[index]


def test_batches_equal_single_items(mapped, gzipped):
    for path in (mapped, gzipped):
        data = ShardDataset(path)
        indices = [22, 0, 5, 5, -1, 13, 4]
        for (image, label), index in zip(data.__getitems__(indices), indices, strict=True):
            assert torch.equal(image, data[index][0])
            assert label == data[index][1]
        assert data.__getitems__([]) == []


def test_items_may_be_written_to(mapped):
    data = ShardDataset(mapped)
    first, again = data.__getitems__([0, 0])
    before = again[0].clone()
    first[0].add_(1)
    assert torch.equal(again[0], before)
    assert torch.equal(data[0][0], before)


def test_transform_sees_images(mapped):
    data = ShardDataset(mapped, transform=lambda image: image.float() / 255)
    assert data[0][0].dtype == torch.float32


def test_fingerprint_is_of_the_content(mapped, gzipped, folder):
    assert ShardDataset(mapped).fingerprint == ShardDataset(folder).fingerprint
    assert ShardDataset(mapped).fingerprint != ShardDataset(gzipped).fingerprint


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("kind", "workers"), [("mapped", 0), ("mapped", 1), ("gzipped", 3)])
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_workers_read_the_same_items(request, kind, workers, start):
    data = ShardDataset(request.getfixturevalue(kind))
    expected = [image for image, _ in data]
    assert len(data._open) == 5  # before workers start, so that they could misuse them
    loader = DataLoader(data, batch_size=3, num_workers=workers, multiprocessing_context=start if workers else None)
    assert torch.equal(torch.cat([images for images, _ in loader]), torch.stack(expected))


def test_a_forked_process_opens_its_own_handles(gzipped):
    data = ShardDataset(gzipped)
    inherited = data._shard(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if data._shard(0) is not inherited else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert data._shard(0) is inherited


def test_pickling_drops_handles(gzipped):
    data = ShardDataset(gzipped)
    image = data[0][0]
    again = pickle.loads(pickle.dumps(data))
    assert not again._open
    assert torch.equal(again[0][0], image)


def test_compressed_shards_do_not_use_up_file_handles(gzipped, monkeypatch):
    monkeypatch.setattr("augmentor.data.shard_dataset._MAX_OPEN_FILES", 2)
    data = ShardDataset(gzipped)
    assert len(list(data)) == COUNT
    assert len(data._open) == 2


def test_folders_that_are_not_ready(tmp_path, folder):
    with pytest.raises(ShardError, match=r"does not exist.*--resume"):
        ShardDataset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShardError, match=r"no manifest\.json.*--resume"):
        ShardDataset(tmp_path / "empty")
    with pytest.raises(ShardError, match="is a file"):
        ShardDataset(folder / "manifest.json")
    (folder / "manifest.json").rename(folder / "manifest.partial.json")
    with pytest.raises(ShardError, match=r"5 of 5 shards.*--resume"):
        ShardDataset(folder)


def test_a_missing_shard_is_found_at_once(folder):
    (folder / "shard-00003.h5").unlink()
    with pytest.raises(ShardError, match=r"shard-00003\.h5 is missing"):
        ShardDataset(folder)


def test_a_truncated_shard_is_found_at_once(folder):
    path = folder / "shard-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match="truncated"):
        ShardDataset(folder)


def test_a_flipped_bit_is_found_by_verify(folder):
    path = folder / "shard-00002.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    ShardDataset(folder)
    with pytest.raises(ShardError, match=r"shard-00002\.h5 does not fit its checksum"):
        ShardDataset(folder, verify=True)


def _edit(folder, change) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    (folder / "manifest.json").write_text(json.dumps(document))


def test_a_manifest_cannot_name_a_file_elsewhere(folder):
    _edit(folder, lambda document: document["shards"][0].update(file="../shards/shard-00000.h5"))
    with pytest.raises(ShardError, match="shard-00000"):
        ShardDataset(folder)


def test_a_manifest_that_lacks_a_shard_is_refused(folder):
    _edit(folder, lambda document: document["shards"].pop())
    with pytest.raises(ShardError, match="4 of 5"):
        ShardDataset(folder)


def test_a_manifest_of_other_images_is_refused_when_a_shard_is_opened(folder):
    _edit(folder, lambda document: document.update(image_shape=[1, 8, 9]))
    with pytest.raises(ShardError, match="shape"):
        ShardDataset(folder)[0]
