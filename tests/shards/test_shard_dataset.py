"""`ShardDataset`: items, indices, workers under every start method, and folders that are not one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import zlib

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

from augmentor._internal.datasets import dataset_labels, fetch
from augmentor._internal.random import seeded
from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset, BlockSampler
from augmentor.exceptions import DeviceError, InputError, ShardError
from augmentor.shards import ShardDataset, encode_shard, generate_shards, read_manifest
from augmentor.transform import LatentAugment

COUNT = 23


def make(folder, policy="gaussian(std=0.5)", autoencoder=None, **settings):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8), np.uint8)
    data = ArrayDataset(torch.from_numpy(pixels), torch.arange(10) % 3, ["a", "b", "c"])
    with seeded(0, "weights"):
        augment = LatentAugment(autoencoder or get_autoencoder("vae").example(), policy)
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
    assert dataset_labels(data).tolist() == data.targets.tolist()


def test_soft_labels(soft):
    data = ShardDataset(soft)
    _, label = data[-1]
    assert (label.dtype, label.shape, data.targets.shape) == (torch.float32, (3,), (COUNT, 3))
    torch.testing.assert_close(data.targets.sum(1), torch.ones(COUNT))


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


BATCHES = (
    slice(3, 17), slice(20, 2, -3), slice(-4, None), slice(7, 7),
    [3, 4, 5, 6], [22, 0, 5, 5, -1, 13, 4], [], range(4, 12), np.array([6, 1]), torch.tensor([9]),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["mapped", "gzipped", "soft"])
def test_slices_and_lists_are_batches_of_the_same_items(request, kind):
    data = ShardDataset(request.getfixturevalue(kind))
    items = list(data)
    for index in BATCHES:
        images, labels = data[index]
        numbers = range(COUNT)[index] if isinstance(index, slice) else [int(number) for number in index]
        assert images.dtype == torch.uint8
        assert images.shape == (len(numbers), 1, 8, 8)
        assert labels.dtype == data.targets.dtype
        assert labels.shape == (len(numbers), *data.targets.shape[1:])
        together = data.__getitems__(numbers)
        for number, image, label, (again, its_label) in zip(numbers, images, labels, together, strict=True):
            assert torch.equal(image, items[number][0])
            assert torch.equal(label, torch.as_tensor(items[number][1]))
            assert torch.equal(again, image)
            assert torch.equal(torch.as_tensor(its_label), label)


def test_what_no_batch_is(mapped):
    data = ShardDataset(mapped)
    for index in ([0, COUNT], [-COUNT - 1], np.array([COUNT])):
        with pytest.raises(IndexError, match="outside a data set of 23"):
            data[index]
    for index in (["0"], [0.5], [None], (1, 2), torch.tensor([0.5])):
        with pytest.raises(TypeError):
            data[index]
    for mask in ([True] * COUNT, np.ones(COUNT, bool), torch.ones(COUNT, dtype=torch.bool)):
        with pytest.raises(TypeError, match="mask"):
            data[mask]
    assert data[torch.tensor(7)][1] == data[7][1]  # a number, whoever holds it


def test_batches_may_be_written_to(mapped, gzipped, soft):
    for folder in (mapped, gzipped, soft):
        data = ShardDataset(folder)
        for index in (slice(0, 4), [0, 1, 2, 3], [3, 0], slice(2, 9), 3):
            before = [torch.as_tensor(part).clone() for part in data[index]]
            images, labels = data[index]
            images += 1
            if isinstance(labels, torch.Tensor):
                labels += 1
            assert all(torch.equal(torch.as_tensor(part), was) for part, was in zip(data[index], before, strict=True))


def test_a_loader_of_batches_gives_what_a_loader_of_items_collates(mapped, soft):
    for folder, transform in ((mapped, None), (soft, lambda image: image.float() / 255)):
        data = ShardDataset(folder, transform=transform)
        sampler = BlockSampler(data, seed=1)
        items = DataLoader(data, batch_size=6, sampler=sampler)
        batches = DataLoader(data, batch_size=None, sampler=BatchSampler(sampler, 6, False))
        for (images, labels), (expected, expected_labels) in zip(batches, items, strict=True):
            assert images.dtype == expected.dtype
            assert torch.equal(images, expected)
            assert torch.equal(labels, expected_labels)


def test_forked_processes_and_pickles_read_on(gzipped):
    data = ShardDataset(gzipped)
    expected = data[:][0]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(data[:][0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    packed = pickle.dumps(data)
    assert len(packed) < 20_000
    assert torch.equal(pickle.loads(packed)[:][0], expected)


@pytest.mark.parametrize("kind", ["mapped", "gzipped"])
def test_shards_do_not_use_up_file_handles(request, kind, monkeypatch):
    monkeypatch.setattr("augmentor.shards.dataset._MAX_OPEN_SHARDS", 2)
    before = len(os.listdir("/proc/self/fd"))
    data = ShardDataset(request.getfixturevalue(kind))
    assert len(list(data)) == COUNT
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_blocks_cover_the_samples_and_none_spans_two_shards(mapped, gzipped, tmp_path):
    for folder in (mapped, gzipped):
        assert ShardDataset(folder).blocks.tolist() == [0, 5, 10, 15, 20, COUNT]
    pixels = torch.zeros(10, 3, 64, 64, dtype=torch.uint8)  # 12 KiB: five to a block
    with seeded(0, "weights"):
        augment = LatentAugment(get_autoencoder("conv")((3, 64, 64)), "gaussian(std=0.5)")
    folder = generate_shards(ArrayDataset(pixels), augment, tmp_path, num_samples=17, shard_size=8, compression="gzip")
    assert ShardDataset(folder).blocks.tolist() == [0, 5, 8, 13, 16, 17]


def test_a_block_shuffle_unpacks_every_chunk_once(gzipped, monkeypatch):
    data = ShardDataset(gzipped)
    assert len(data.targets) == COUNT  # opens the shards, and reads the labels
    unpacked, unpack = [], zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda: (unpacked.append(1), unpack())[1])
    loader = DataLoader(data, batch_size=3, sampler=BlockSampler(data, window=2))
    images = torch.cat([images for images, _ in loader])
    assert len(unpacked) == 5
    assert sorted(map(bytes, images.numpy())) == sorted(bytes(image.numpy()) for image, _ in data)


# --- latents


@pytest.fixture(scope="module", params=["none", "gzip"])
def latents(request, tmp_path_factory):
    """A folder of latents, one of the images they decode to, and the autoencoder."""
    with seeded(0, "weights"):
        model = get_autoencoder("vae").example()
    root = tmp_path_factory.mktemp("latents")
    made = [
        make(root / store, autoencoder=model, store=store, compression=request.param) for store in ("latents", "images")
    ]
    return *made, model


def test_latents_decode_to_the_images_that_would_have_been_stored(latents):
    folder, plain, model = latents
    data, images = ShardDataset(folder, autoencoder=model), ShardDataset(plain)
    assert data.image_shape == images.image_shape
    for rows in ([7], [22, 0, 5, 5, -1, 13, 4], range(COUNT)):
        found, labels = fetch(data, rows)
        expected, expected_labels = fetch(images, rows)
        assert found.dtype == torch.uint8
        assert int((found.int() - expected.int()).abs().max()) <= 1
        assert torch.equal(labels, expected_labels)
    assert data.targets.tolist() == images.targets.tolist()


def test_a_batch_of_latents_is_decoded_in_one_call(latents, monkeypatch):
    folder, _, model = latents
    data = ShardDataset(folder, autoencoder=model)
    sizes = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z, size: (sizes.append(len(z)), decode(z, size))[1])
    data.__getitems__([0, 7, 13, 22])  # of four shards
    data[3:14]
    assert sizes == [4, 11]


def test_items_of_latents_carry_no_gradients_and_draw_nothing(latents, global_rng_untouched):
    folder, _, model = latents
    image, _ = ShardDataset(folder, autoencoder=model.train())[0]
    assert not image.requires_grad
    assert not model.training


@pytest.mark.slow
def test_workers_decode_latents(latents):
    folder, plain, model = latents
    data = ShardDataset(folder, autoencoder=model)
    loader = DataLoader(data, batch_size=5, num_workers=1, multiprocessing_context="spawn")
    found = torch.cat([images for images, _ in loader]).int()
    assert int((found - fetch(ShardDataset(plain), range(COUNT))[0].int()).abs().max()) <= 1


def test_latents_of_a_pretrained_autoencoder_find_it(tmp_path, digits):
    folder = generate_shards(digits, LatentAugment("digits"), tmp_path / "a", num_samples=6, store="latents")
    plain = generate_shards(digits, LatentAugment("digits"), tmp_path / "b", num_samples=6)
    found, expected = fetch(ShardDataset(folder), range(6))[0], fetch(ShardDataset(plain), range(6))[0]
    assert int((found.int() - expected.int()).abs().max()) <= 1
    assert torch.equal(fetch(ShardDataset(folder, autoencoder="digits", device="cpu"), range(6))[0], found)


def test_another_autoencoder_is_refused(latents, tmp_path):
    folder, plain, _ = latents
    with pytest.raises(InputError, match=r"none of the pretrained.*\.safetensors"):
        ShardDataset(folder)
    with pytest.raises(InputError, match="made with another 'vae'"):
        ShardDataset(folder, autoencoder="digits")
    for argument in ({"autoencoder": "digits"}, {"device": "cpu"}):
        with pytest.raises(InputError, match="holds images"):
            ShardDataset(plain, **argument)


def test_an_accelerator_in_a_worker_is_refused(latents, monkeypatch):
    folder, _, model = latents
    data = ShardDataset(folder, autoencoder=model)
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    monkeypatch.setattr("augmentor._internal.transfer.get_worker_info", lambda: object())
    with pytest.raises(DeviceError, match="num_workers=0"):
        data[0]


def test_latents_that_are_no_numbers_are_refused(latents, tmp_path):
    folder, _, model = latents
    folder = shutil.copytree(folder, tmp_path / "shards")
    manifest = read_manifest(folder / "manifest.json")
    entry = manifest.shards[0]
    with h5py.File(folder / entry.file, locking=False) as file:
        arrays = {name: file[name][:] for name in file}
    arrays["latents"][3, 0] = np.inf
    data = encode_shard(arrays, {}, manifest.compression)
    (folder / entry.file).write_bytes(data)
    changed = dataclasses.replace(entry, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    manifest.with_shards(changed, *manifest.shards[1:]).write(folder / "manifest.json")
    with pytest.raises(ShardError, match="not finite"):
        ShardDataset(folder, autoencoder=model)[3]


def begin(folder) -> None:
    """Make it a folder whose generation was cut short after two shards."""
    manifest = read_manifest(folder / "manifest.json")
    (folder / "manifest.json").unlink()
    lines = [manifest.with_shards().document(), *(entry.fields() for entry in manifest.shards[:2])]
    (folder / "manifest.partial.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_folders_that_are_not_ready(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    for path, said in (
        (tmp_path / "absent", r"does not exist.*--resume"),
        (tmp_path / "empty", r"no manifest\.json.*--resume"),
        (folder / "manifest.json", "is a file"),
    ):
        with pytest.raises(ShardError, match=said):
            ShardDataset(path)
    begin(folder)
    with pytest.raises(ShardError, match=r"2 of 5 shards.*--resume"):
        ShardDataset(folder)


def _edit(change):
    def edit(folder) -> None:
        document = json.loads((folder / "manifest.json").read_text())
        change(document)
        (folder / "manifest.json").write_text(json.dumps(document))

    return edit


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "shard-00003.h5").unlink(), r"shard-00003\.h5 is missing"),
        (lambda folder: os.truncate(folder / "shard-00001.h5", 1000), "truncated"),
        (_edit(lambda document: document["shards"].pop()), "4 of 5"),
    ],
)
def test_a_folder_that_does_not_fit_its_manifest_is_refused_at_once(folder, damage, said):
    damage(folder)
    with pytest.raises(ShardError, match=said):
        ShardDataset(folder)


def test_what_only_a_look_into_the_files_tells(folder):
    path = folder / "shard-00002.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    ShardDataset(folder)
    with pytest.raises(ShardError, match=r"shard-00002\.h5 does not match its checksum"):
        ShardDataset(folder, verify=True)
    _edit(lambda document: document.update(image_shape=[1, 8, 9]))(folder)
    with pytest.raises(ShardError, match="shape"):
        ShardDataset(folder)[0]
