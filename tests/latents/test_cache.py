"""`LatentCache`: what the encoder said of a data set, once."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as dump_tensors

from augmentor.autoencoders import ConvAutoencoder
from augmentor.data import ArrayDataset, MixedDataset
from augmentor.exceptions import CacheError
from augmentor.latents import LatentCache
from augmentor.transform import LatentAugment


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(30))


def forbid_encoding(vae) -> None:
    def encode(images):
        raise AssertionError("encoded again")

    vae.encode = encode


@pytest.mark.parametrize("batch_size", [7, 256])
def test_it_holds_the_raw_posterior_of_every_image(few, vae, batch_size):
    cache = LatentCache(few, vae, batch_size=batch_size)
    posterior = vae.encode(few.images)
    torch.testing.assert_close(cache.mean, posterior.mean)
    torch.testing.assert_close(cache.std, posterior.std)
    assert torch.equal(cache.labels, few.targets)
    assert cache.num_classes == 10
    assert len(cache) == 30
    assert not cache.mean.requires_grad


@pytest.mark.parametrize("rows", [[0, 5, 5], torch.tensor([3]), torch.arange(30) > 20], ids=["list", "tensor", "mask"])
def test_rows_are_taken_by_number_or_mask(few, vae, rows):
    cache = LatentCache(few, vae)
    part = cache[rows]
    assert torch.equal(part.mean, cache.mean[rows])
    assert torch.equal(part.std, cache.std[rows])


def test_an_encoder_without_a_spread_has_none(few):
    cache = LatentCache(few, ConvAutoencoder.example())
    assert cache.std is None
    assert cache[[0]].std is None


def test_images_without_labels_have_none(few, vae):
    cache = LatentCache(list_of(few.images), vae)
    assert cache.labels is None
    assert cache.num_classes is None


def list_of(images: torch.Tensor):
    class Images:
        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            return images[index]

    return Images()


def test_a_file_is_written_once_and_read_without_encoding(few, vae, tmp_path):
    path = tmp_path / "deep" / "cache.safetensors"
    first = LatentCache(few, vae, path)
    before = path.read_bytes()
    forbid_encoding(vae)
    again = LatentCache(few, vae, path)
    assert torch.equal(again.mean, first.mean)
    assert torch.equal(again.std, first.std)
    assert torch.equal(again.labels, first.labels)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["cache.safetensors"]


def test_all_ranks_of_a_job_may_write_it_at_the_same_time(few, vae, tmp_path, monkeypatch):
    together = threading.Barrier(6, timeout=30)

    def dumped(*what):
        together.wait()
        return dump_tensors(*what)

    monkeypatch.setattr("augmentor.latents.cache.dump_tensors", dumped)
    encoders = [copy.deepcopy(vae) for _ in range(6)]
    with ThreadPoolExecutor(6) as ranks:
        caches = list(ranks.map(lambda encoder: LatentCache(few, encoder, tmp_path / "cache.safetensors"), encoders))
    assert all(torch.equal(cache.mean, caches[0].mean) for cache in caches)
    assert os.listdir(tmp_path) == ["cache.safetensors"]


def test_the_bytes_of_a_cache_are_deterministic(few, vae, tmp_path):
    LatentCache(few, vae, tmp_path / "a")
    LatentCache(few, vae, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_autoencoder_another_data_set_and_both_are_refused(few, digits, vae, tmp_path):
    path = tmp_path / "cache"
    LatentCache(few, vae, path)
    before = path.read_bytes()
    other = digits.subset(torch.arange(1, 31))
    with pytest.raises(CacheError, match="another dataset; name another file, or replace it with rebuild=True"):
        LatentCache(other, vae, path)
    with torch.no_grad():
        next(vae.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(CacheError, match="another autoencoder;"):
        LatentCache(few, vae, path)
    with pytest.raises(CacheError, match="another autoencoder and dataset;"):
        LatentCache(other, vae, path)
    assert path.read_bytes() == before


def test_one_changed_pixel_or_label_is_another_data_set(few, vae, tmp_path):
    LatentCache(few, vae, tmp_path / "cache")
    images, labels = few.images.clone(), few.targets.clone()
    images[3, 0, 4, 4] ^= 1
    labels[3] = (labels[3] + 1) % 10
    for changed in (ArrayDataset(images, few.targets, few.classes), ArrayDataset(few.images, labels, few.classes)):
        with pytest.raises(CacheError, match="another dataset"):
            LatentCache(changed, vae, tmp_path / "cache")


def test_rebuild_replaces_a_stale_file(few, digits, vae, tmp_path):
    path = tmp_path / "cache"
    LatentCache(digits.subset(torch.arange(5)), vae, path)
    rebuilt = LatentCache(few, vae, path, rebuild=True)
    assert torch.equal(LatentCache(few, vae, path).mean, rebuilt.mean)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(few, vae, tmp_path, share):
    path = tmp_path / "cache"
    LatentCache(few, vae, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CacheError, match=r"is not a latent cache.*name another file"):
        LatentCache(few, vae, path)


def test_foreign_files_are_refused_and_left_alone(few, vae, tmp_path):
    files = {
        "text": b"this is my diary",
        "safetensors": dump_tensors({"w": torch.zeros(3)}),
        "metadata": dump_tensors({"w": torch.zeros(3)}, {"augmentor": "[1]"}),
        "no json": dump_tensors({"w": torch.zeros(3)}, {"augmentor": "{"}),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CacheError):
            LatentCache(few, vae, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    with pytest.raises(CacheError):
        LatentCache(few, vae, tmp_path)


@pytest.mark.parametrize("lacking", ["mean", "rows", "spread rows", "label rows"])
def test_a_file_with_the_right_key_and_other_contents_is_refused(few, vae, tmp_path, lacking):
    path = tmp_path / "cache"
    LatentCache(few, vae, path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("mean", "std", "labels")}
        key = file.metadata()
    if lacking == "mean":
        del tensors["mean"]
    else:
        name = {"rows": "mean", "spread rows": "std", "label rows": "labels"}[lacking]
        tensors[name] = tensors[name][:7]
    path.write_bytes(dump_tensors(tensors, key))
    with pytest.raises(CacheError, match="is not a latent cache"):
        LatentCache(few, vae, path)


def test_the_key_says_what_the_latents_are_of(few, vae, tmp_path):
    cache = LatentCache(few, vae, tmp_path / "cache")
    with safe_open(tmp_path / "cache", "pt") as file:
        key = json.loads(file.metadata()["augmentor"])
    assert key == cache.key
    assert key["dataset"] == few.fingerprint


def test_a_transform_can_be_fitted_on_cached_latents(few, vae):
    augment = LatentAugment(vae, "interpolate", p=1.0, seed=0)
    cache = LatentCache(few, vae)
    augment.fit_latents(cache.mean, cache.labels, cache.num_classes)
    from_cache = augment(few.images, few.targets)[0]
    from_images = augment.fit(few)(few.images, few.targets)[0]
    assert (from_cache.int() - from_images.int()).abs().max() <= 1


def test_a_file_is_opened_again_where_the_cache_arrives(few, vae, tmp_path):
    cache = LatentCache(few, vae, tmp_path / "cache")
    packed = pickle.dumps(cache)
    assert cache.mean.numpy().tobytes()[:64] not in packed
    assert torch.equal(pickle.loads(packed).mean, cache.mean)


def test_statistics_fitted_later_leave_a_cache_valid(few, tmp_path):
    model = ConvAutoencoder.example()
    cache = LatentCache(few, model, tmp_path / "cache")
    LatentAugment(model).fit(few)
    assert cache.check(model, few) is cache
    assert torch.equal(LatentCache(few, model, tmp_path / "cache").mean, cache.mean)


def test_a_cache_of_other_data_is_refused(few, digits, vae):
    with pytest.raises(CacheError, match="another dataset; make it anew"):
        MixedDataset(digits, LatentAugment(vae), cache=LatentCache(few, vae))
