"""`LatentCache`: the latents of a data set, encoded once."""

from __future__ import annotations

import copy
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


def test_it_holds_the_raw_posterior_of_every_image(few, vae):
    cache = LatentCache(few, vae, batch_size=7)
    posterior = vae.encode(few.images)
    torch.testing.assert_close(cache.mean, posterior.mean)
    torch.testing.assert_close(cache.std, posterior.std)
    assert torch.equal(cache.labels, few.targets)
    assert cache.num_classes == 10
    assert len(cache) == 30
    assert not cache.mean.requires_grad
    for rows in ([0, 5, 5], torch.tensor([3]), torch.arange(30) > 20):
        assert torch.equal(cache[rows].mean, cache.mean[rows])
        assert torch.equal(cache[rows].std, cache.std[rows])


def test_what_an_encoder_or_a_data_set_does_not_give_is_none(few):
    cache = LatentCache(list(few.images), ConvAutoencoder.example())
    assert cache[[0]].std is None
    assert (cache.std, cache.labels, cache.num_classes) == (None, None, None)


def test_a_file_is_written_once_and_read_without_encoding(few, vae, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "cache.safetensors"
    first = LatentCache(few, vae, path)
    before = path.read_bytes()
    monkeypatch.setattr(vae, "encode", None)
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


def test_another_autoencoder_another_data_set_and_both_are_refused_but_to_rebuild(few, vae, tmp_path):
    path, images = tmp_path / "cache", few.images.clone()
    LatentCache(few, vae, path)
    before = path.read_bytes()
    images[3, 0, 4, 4] ^= 1
    other = ArrayDataset(images, few.targets, few.classes)
    for changed in (other, ArrayDataset(few.images, few.targets.flip(0), few.classes)):
        with pytest.raises(CacheError, match="another dataset; choose another file, or remove this one"):
            LatentCache(changed, vae, path)
    with torch.no_grad():
        next(vae.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(CacheError, match="another autoencoder;"):
        LatentCache(few, vae, path)
    with pytest.raises(CacheError, match="another autoencoder and dataset;"):
        LatentCache(other, vae, path)
    assert path.read_bytes() == before
    rebuilt = LatentCache(other, vae, path, rebuild=True)
    assert torch.equal(LatentCache(other, vae, path).mean, rebuilt.mean)


def test_truncated_and_foreign_files_are_refused_and_kept(few, vae, tmp_path):
    LatentCache(few, vae, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    files = {
        **{f"the first {share:.0%}": whole[: int(share * len(whole))] for share in (0, 0.05, 0.99)},
        "text": b"this is my diary",
        "safetensors": dump_tensors({"w": torch.zeros(3)}),
        "no json": dump_tensors({"w": torch.zeros(3)}, {"augmentor": "{"}),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CacheError):
            LatentCache(few, vae, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    with pytest.raises(CacheError):
        LatentCache(few, vae, tmp_path)


@pytest.mark.parametrize("change", [{"labels": torch.arange(7)}, {"mean": None}], ids=str)
def test_a_file_with_the_right_key_and_other_contents_is_refused(few, vae, tmp_path, change):
    path = tmp_path / "cache"
    tensors = {**LatentCache(few, vae, path).tensors(), **change}
    with safe_open(path, "pt") as file:
        key = file.metadata()
    path.write_bytes(dump_tensors({name: tensor for name, tensor in tensors.items() if tensor is not None}, key))
    with pytest.raises(CacheError, match="is not a latent cache"):
        LatentCache(few, vae, path)


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
    with pytest.raises(CacheError, match="another dataset; create it again"):
        MixedDataset(digits, LatentAugment(vae), cache=LatentCache(few, vae))


def test_a_transform_is_fitted_by_a_cache_as_by_its_data(few, vae):
    fitted = LatentAugment(vae, "interpolate(same_class=False)", p=1.0).fit(few).reference
    cached = LatentAugment(vae, "interpolate(same_class=False)", p=1.0).fit(LatentCache(few, vae)).reference
    assert torch.equal(cached.z, fitted.z)
    assert torch.equal(cached.labels, fitted.labels)
    assert (cached.labelled, cached.num_classes) == (True, fitted.num_classes)
