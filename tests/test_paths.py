"""Every public function that takes a path: as text, as `Path`, with ``~``, and relative with a later `os.chdir`."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from augmentor import LatentAugment, LatentCache, ShardDataset, generate_shards, load_autoencoder, tune
from augmentor.autoencoders import ConvVAE
from augmentor.data import ArrayDataset, HDF5Dataset, load_source
from augmentor.exceptions import DataError, OutputError, UnknownNameError, WeightsError
from augmentor.gan import GANTrainer, get_method, load_generator
from augmentor.quality import InceptionFeatures
from augmentor.shards import complete_manifest, holds_shards, open_shard, read_manifest, verified, verify_shard
from augmentor.training import AutoencoderTrainer

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8), dtype=np.uint8)
DATA = ArrayDataset(torch.from_numpy(IMAGES)[:, None], torch.arange(8) % 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A home folder with something for every reader."""
    home = tmp_path_factory.mktemp("home")
    (home / "in").mkdir()
    (home / "in/images").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(home / f"in/images/{number}.png")
    np.savez(home / "in/a.npz", images=IMAGES)
    with h5py.File(home / "in/a.h5", "w") as file:
        file["images"], file["labels"] = IMAGES, np.arange(8) % 2
    generate_shards(DATA, LatentAugment("digits"), home / "in/shards", num_samples=4)
    fitted_autoencoder(home / "in/ae")()
    trained_gan(home / "in/gan").fit(DATA)
    config = LatentAugment(home / "in/ae", "gaussian(std=0.5)").to_config()
    (home / "in/policy.json").write_text(json.dumps(config))
    return home


def trained_gan(out: Any) -> GANTrainer:
    method = get_method("gan", network="dcgan(width=8)", image_shape=(1, 8, 8))
    return GANTrainer(method, steps=1, batch_size=4, progress=False, out=out)


# How a path may be spelled: (home folder, path relative to it) => what is passed.
SPELLINGS: dict[str, Callable[[Path, str], Any]] = {
    "text": lambda home, name: str(home / name),
    "Path": lambda home, name: home / name,
    "~": lambda home, name: f"~/{name}",
    "~ Path": lambda home, name: Path("~") / name,
    "relative": lambda home, name: name,
    "relative Path": lambda home, name: Path(name),
}


@pytest.fixture(params=SPELLINGS)
def spelled(request, files, tmp_path, monkeypatch) -> Callable[[str], Any]:
    """A path below the home folder as it may be given; relative ones are valid until `leave` is called."""
    monkeypatch.setenv("HOME", str(files))
    monkeypatch.chdir(files if "relative" in request.param else tmp_path)
    return lambda name: SPELLINGS[request.param](files, name)


@pytest.fixture
def leave(tmp_path, monkeypatch) -> Callable[[], None]:
    """Go to another, empty folder, as a program may in the middle."""
    (tmp_path / "elsewhere").mkdir()
    return lambda: monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.mark.parametrize("source", ["in/images", "in/a.npz", "h5:in/a.h5", "in/shards"])
def test_sources(spelled, leave, source):
    prefix, _, name = source.rpartition(":")
    path = spelled(name)
    data = load_source(f"{prefix}:{path}" if prefix else path)
    leave()
    assert data[0][0].shape == (1, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(data))[1][0], data[1][0])


def test_folders_of_torchvision(spelled, files):
    with pytest.raises(DataError, match=f"under {files}/in "):
        load_source(f"mnist:{spelled('in')}")


@pytest.mark.slow
def test_weights_of_inception(spelled, files):
    with pytest.raises(WeightsError, match=f"{files}/in/policy.json is not a file of plain tensors"):
        InceptionFeatures(spelled("in/policy.json"))


@pytest.mark.parametrize(("kind", "name"), [(ShardDataset, "in/shards"), (HDF5Dataset, "in/a.h5")])
def test_data_sets_that_read_later(spelled, leave, kind, name):
    data = kind(spelled(name))
    leave()
    assert torch.equal(pickle.loads(pickle.dumps(data))[1][0], data[1][0])


@pytest.mark.parametrize("name", ["in/ae/model.safetensors", "in/ae"])
def test_weights_of_an_autoencoder_and_the_folder_of_its_run(spelled, leave, name):
    path = spelled(name)
    assert load_autoencoder(path).latent_dim == 2
    augment = LatentAugment(path, "gaussian(std=0.5)")
    again = LatentAugment.from_config(augment.to_config(), autoencoder=path)
    assert again.autoencoder.latent_dim == 2
    leave()
    assert LatentAugment.from_config(augment.to_config()).autoencoder.latent_dim == 2


@pytest.mark.parametrize("name", ["in/gan/generator.safetensors", "in/gan"])
def test_weights_of_a_generator_and_the_folder_of_its_run(spelled, name):
    assert load_generator(spelled(name)).image_shape == (1, 8, 8)


def test_a_config_and_the_weights_beside_it(spelled, files):
    assert LatentAugment.from_config(spelled("in/policy.json")).autoencoder.latent_dim == 2
    for name in ("ae", "ae/model.safetensors", "~/in/ae"):
        document = {"autoencoder": name, "policy": "gaussian(std=0.5)"}
        (files / "in/other.json").write_text(json.dumps(document))
        assert LatentAugment.from_config(spelled("in/other.json")).autoencoder.latent_dim == 2


def test_the_files_of_a_shard_folder(spelled, files):
    manifest = read_manifest(spelled("in/shards/manifest.json"))
    (entry,) = manifest.shards
    assert holds_shards(spelled("in/shards"))
    assert complete_manifest(spelled("in/shards")) == manifest
    assert [error for _, error in verified(spelled("in/shards"), manifest)] == [None]
    verify_shard(spelled(f"in/shards/{entry.file}"), entry)
    assert len(open_shard(spelled(f"in/shards/{entry.file}"), entry, manifest).labels) == 4
    manifest.write(spelled("out.json"))
    assert read_manifest(files / "out.json") == manifest
    (files / "out.json").unlink()


def fitted_autoencoder(out: Any) -> Callable[[], Any]:
    trainer = AutoencoderTrainer(ConvVAE((1, 8, 8), latent_dim=2, width=8), steps=1, out=out, progress=False)
    return lambda: trainer.fit(DATA)


def cached(out: Any) -> Callable[[], Any]:
    cache = LatentCache(DATA, load_autoencoder("digits"), out)
    return lambda: pickle.loads(pickle.dumps(cache))[[0]]


WRITERS: dict[str, tuple[Callable[[Any], Callable[[], Any] | None], str]] = {
    "AutoencoderTrainer": (fitted_autoencoder, "model.safetensors"),
    "GANTrainer": (lambda out: partial(trained_gan(out).fit, DATA), "generator.safetensors"),
    "generate_shards": (lambda out: generate_shards(DATA, LatentAugment("digits"), out, num_samples=4) and None,
                        "manifest.json"),
    "LatentCache": (cached, ""),
    "Autoencoder.save": (lambda out: load_autoencoder("digits").save(out), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written(spelled, leave, files, tmp_path, name):
    write, inside = WRITERS[name]
    place = f"out/{tmp_path.name}"
    finish = write(spelled(place))
    leave()
    if finish is not None:
        finish()
    assert (files / place / inside).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_tune_knows_a_folder_of_another_run(spelled, files):
    with pytest.raises(OutputError, match=re.escape(f"{files}/in/ae already contains a run")):
        tune(DATA, spelled("in/ae"), out=spelled("in/ae"), resume=False)


def test_folders_without_the_weights_that_were_asked_for_are_named(files, monkeypatch):
    monkeypatch.chdir(files)
    with pytest.raises(WeightsError, match=r"in/gan/model\.safetensors does not exist; .*the folder of a finished"):
        load_autoencoder("in/gan")
    with pytest.raises(WeightsError, match=r"in/ae/generator\.safetensors does not exist"):
        load_generator("in/ae")
    with pytest.raises(UnknownNameError, match="or the folder of a training run"):
        load_autoencoder("in/nothing")
