"""Pretrained models: every entry of the index is what its card says, and changed files are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from augmentor import LatentAugment, list_autoencoders, load_autoencoder
from augmentor._internal.files import sha256_file
from augmentor._internal.registry import describe
from augmentor._internal.weights import read_header, save_network
from augmentor.autoencoders import pretrained
from augmentor.autoencoders.pretrained import training_data
from augmentor.exceptions import UnknownNameError, WeightsError
from augmentor.quality import reconstruction_psnr

FOLDER = pretrained.pretrained_folder()
NAMES = list_autoencoders()
BITS = {
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "truncated": lambda data: data[: len(data) // 2],
    "another of ours": lambda data: (FOLDER / "mnist" / "model.safetensors").read_bytes(),
}


def test_there_are_those_that_were_promised():
    assert {"digits", "mnist", "natural", "cifar10"} <= set(NAMES)
    assert sum(file.stat().st_size for file in FOLDER.glob("*/*")) < 20 << 20  # what the wheel carries: nine models
    assert sorted(path.parent.name for path in FOLDER.glob("*/model.safetensors")) == sorted([*NAMES, "smallnet"])


@pytest.mark.parametrize("name", NAMES)
def test_the_index_and_the_card_fit_the_file(name):
    entry, file = pretrained.card(name), FOLDER / name / "model.safetensors"
    assert entry["sha256"] == sha256_file(file)
    assert entry["bytes"] == file.stat().st_size < 8 << 20
    model = load_autoencoder(name)
    assert entry["autoencoder"] == describe(model)
    assert tuple(entry["image_shape"]) == model.image_shape
    assert read_header(file)["name"] == model.name
    text = (FOLDER / name / "card.md").read_text(encoding="utf-8")
    for field in ("sha256", "command", "licence", "data", "autoencoder"):
        assert entry[field] in text, field
    assert f"{entry['psnr_db']} dB" in text
    if "fid" in entry:
        assert f"| {entry['fid']} on the latents of `{entry['features']}`, {entry['fid_images']} images" in text
        assert entry["features"] in set(NAMES) - {name}
    assert entry["command"].startswith("augmentor train-autoencoder ")
    assert (FOLDER / name / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_ready_for_use_each_time_anew_and_its_bytes_are_those_of_any_machine(
    name, global_rng_untouched, tmp_path
):
    model, other, file = load_autoencoder(name), load_autoencoder(name), FOLDER / name / "model.safetensors"
    assert not model.training
    assert model.stats.fitted
    assert model.device.type == "cpu"
    images = torch.zeros(2, *(16 if n is None else n for n in model.image_shape))
    assert model(images).shape == LatentAugment(name, p=1.0, seed=0)(images).shape == images.shape
    save_network(model, tmp_path / "again.safetensors", read_header(file)["info"])
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert not torch.equal(next(model.parameters()), next(other.parameters()))


def test_digits_gives_digits_back_and_mnist_larger_ones(digits):
    psnr = reconstruction_psnr(load_autoencoder("digits"), digits)
    assert psnr > 20
    assert psnr == pytest.approx(pretrained.card("digits")["psnr_db"], abs=0.02)
    # There is no MNIST here: the bundled digits, drawn as MNIST draws its own, in 20x20 with a margin of 4.
    images = torch.nn.functional.interpolate(digits.images[:200].float() / 255, (20, 20), mode="bicubic").clamp(0, 1)
    assert reconstruction_psnr(load_autoencoder("mnist"), [torch.nn.functional.pad(images, (4, 4, 4, 4))]) > 14


# --- refused


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the pretrained models that the package takes for its own."""
    shutil.copytree(FOLDER, tmp_path / "pretrained")
    monkeypatch.setattr(pretrained, "pretrained_folder", lambda: tmp_path / "pretrained")
    pretrained._index.cache_clear()
    yield tmp_path / "pretrained"
    monkeypatch.undo()
    pretrained._index.cache_clear()


@pytest.mark.parametrize("tamper", BITS.values(), ids=BITS)
def test_a_tampered_copy_is_refused_by_its_name_and_by_its_path(copied, tamper):
    file = copied / "digits" / "model.safetensors"
    assert load_autoencoder("digits").image_shape == load_autoencoder(file).image_shape == (1, 8, 8)
    file.write_bytes(tamper(file.read_bytes()))
    for load in (load_autoencoder, LatentAugment):
        with pytest.raises(WeightsError, match=r"'digits' are missing or do not match their checksum.*install"):
            load("digits")
    if file.read_bytes() != (copied / "mnist" / "model.safetensors").read_bytes():
        with pytest.raises(WeightsError, match=r"damaged|checksum"):
            load_autoencoder(file)
    assert load_autoencoder("mnist").image_shape == (1, 28, 28)
    file.unlink()
    with pytest.raises(WeightsError, match="reinstall the package"):
        load_autoencoder("digits")


def test_an_unknown_name_says_what_was_meant():
    for call in (load_autoencoder, pretrained.card, LatentAugment):
        with pytest.raises(UnknownNameError, match="unknown autoencoder 'digit'; did you mean 'digits'"):
            call("digit")
    with pytest.raises(UnknownNameError, match=r"or give the path of a \.safetensors file"):
        load_autoencoder("runs/mine")


def test_a_path_that_is_not_there_or_not_ours(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("none.safetensors", "folder.safetensors"):
        with pytest.raises(WeightsError, match="does not exist"):
            load_autoencoder(tmp_path / name)
    with pytest.raises(UnknownNameError, match="unknown autoencoder"):  # a path is never taken for a name
        load_autoencoder(tmp_path / "digits")


@pytest.mark.parametrize("info", ["text", {"verdict": "good", "dataset": 3}, {"verdict": {"psnr_db": None}}])
def test_what_somebody_else_wrote_into_the_header_is_no_verdict(tmp_path, info):
    load_autoencoder("digits").save(tmp_path / "mine.safetensors", info=info)
    assert load_autoencoder(tmp_path / "mine.safetensors").verdict is None
    assert training_data(str(tmp_path / "mine.safetensors")) is None
