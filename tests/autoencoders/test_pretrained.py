"""The shelf: every entry is what its card says, and a copy that was touched is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from augmentor import LatentAugment, list_autoencoders, load_autoencoder
from augmentor._internal.files import sha256_file
from augmentor._internal.registry import describe
from augmentor._internal.weights import read_header
from augmentor.autoencoders import pretrained
from augmentor.exceptions import UnknownNameError, WeightsError
from augmentor.quality import reconstruction_psnr

SHELF = pretrained._shelf()
NAMES = list_autoencoders()


def test_the_shelf_holds_what_was_promised():
    assert {"digits", "mnist", "natural", "cifar10"} <= set(NAMES)
    assert sum(file.stat().st_size for file in SHELF.glob("*/*")) < 16 << 20
    assert sorted(path.parent.name for path in SHELF.glob("*/model.safetensors")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_index_fits_the_file(name):
    entry, file = pretrained.card(name), SHELF / name / "model.safetensors"
    assert entry["sha256"] == sha256_file(file)
    assert entry["bytes"] == file.stat().st_size < 8 << 20
    model = load_autoencoder(name)
    assert entry["autoencoder"] == describe(model)
    assert tuple(entry["image_shape"]) == model.image_shape
    assert read_header(file)["name"] == model.name


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_where_it_comes_from(name):
    entry, text = pretrained.card(name), (SHELF / name / "card.md").read_text(encoding="utf-8")
    for field in ("sha256", "command", "licence", "data", "autoencoder"):
        assert entry[field] in text, field
    assert f"{entry['psnr_db']} dB" in text
    if "fid" in entry:
        assert f"| {entry['fid']} on the latents of `{entry['features']}`, {entry['fid_images']} images" in text
        assert entry["features"] in NAMES
        assert entry["features"] != name
    assert entry["command"].startswith("augmentor train-autoencoder ")
    assert (SHELF / name / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_ready_for_use(name):
    model = load_autoencoder(name)
    assert not model.training
    assert model.stats.fitted
    assert model.device.type == "cpu"
    images = torch.rand(2, *(16 if n is None else n for n in model.image_shape))
    assert model(images).shape == images.shape
    assert LatentAugment(name, p=1.0)(images).shape == images.shape


def test_digits_gives_digits_back(digits):
    psnr = reconstruction_psnr(load_autoencoder("digits"), digits)
    assert psnr > 20
    assert psnr == pytest.approx(pretrained.card("digits")["psnr_db"], abs=0.02)


def test_mnist_gives_larger_digits_back(digits):
    """There is no MNIST here: the bundled digits, drawn as MNIST draws its own, in 20x20 with a margin of 4."""
    images = torch.nn.functional.interpolate(digits.images[:200].float() / 255, (20, 20), mode="bicubic").clamp(0, 1)
    images = torch.nn.functional.pad(images, (4, 4, 4, 4))
    assert reconstruction_psnr(load_autoencoder("mnist"), [images]) > 14


def test_loading_twice_gives_two_models():
    one, other = load_autoencoder("digits"), load_autoencoder("digits")
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_loading_leaves_the_global_generator_alone(global_rng_untouched):
    load_autoencoder("digits")
    LatentAugment("digits")


# What is refused


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the shelf that the package takes for its own."""
    shutil.copytree(SHELF, tmp_path / "shelf")
    monkeypatch.setattr(pretrained, "_shelf", lambda: tmp_path / "shelf")
    pretrained._index.cache_clear()
    yield tmp_path / "shelf"
    monkeypatch.undo()
    pretrained._index.cache_clear()


def test_a_whole_copy_is_taken(copied):
    assert load_autoencoder("digits").image_shape == (1, 8, 8)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: (SHELF / "mnist" / "model.safetensors").read_bytes(),
    ],
    ids=["one bit", "truncated", "empty", "another of ours"],
)
def test_a_tampered_copy_is_refused(copied, tamper):
    file = copied / "digits" / "model.safetensors"
    file.write_bytes(tamper(file.read_bytes()))
    with pytest.raises(WeightsError, match=r"'digits' are missing or do not fit their checksum.*install"):
        load_autoencoder("digits")
    with pytest.raises(WeightsError):
        LatentAugment("digits")
    assert load_autoencoder("mnist").image_shape == (1, 28, 28)


@pytest.mark.parametrize("tamper", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1]])
def test_a_tampered_file_is_refused_by_its_path_too(tmp_path, tamper):
    file = tmp_path / "model.safetensors"
    file.write_bytes((SHELF / "digits" / "model.safetensors").read_bytes())
    assert load_autoencoder(file).image_shape == (1, 8, 8)
    file.write_bytes(tamper(file.read_bytes()))
    with pytest.raises(WeightsError, match=r"damaged|checksum"):
        load_autoencoder(file)


def test_missing_weights_are_refused(copied):
    (copied / "digits" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="install the package again"):
        load_autoencoder("digits")


def test_the_index_decides_what_there_is(copied):
    index = json.loads((copied / "index.json").read_text())
    (copied / "index.json").write_text(json.dumps({"digits": index["digits"]}))
    pretrained._index.cache_clear()
    assert list_autoencoders() == ["digits"]
    with pytest.raises(UnknownNameError):
        load_autoencoder("mnist")


def test_an_unknown_name_says_what_was_meant():
    for call in (load_autoencoder, pretrained.card, LatentAugment):
        with pytest.raises(UnknownNameError, match="unknown autoencoder 'digit'; did you mean 'digits'"):
            call("digit")
    with pytest.raises(UnknownNameError, match=r"or give the path of a \.safetensors file"):
        load_autoencoder("runs/mine")


def test_a_path_that_is_not_there_or_not_ours(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load_autoencoder(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        load_autoencoder(tmp_path / "digits")  # a path is never taken for a name
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match="not a weights file"):
        load_autoencoder(tmp_path / "folder.safetensors")
